"""The standard health check of gRPC, as one HTTP request
(https://github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

from __future__ import annotations

METHOD = "/grpc.health.v1.Health/Check"
# A message is a flag, its length in four bytes, and itself; this one is empty.
REQUEST = bytes(5)
HEADERS = {"Content-Type": "application/grpc", "TE": "trailers"}
_SERVING = b"\x08\x01"  # field 1, value 1
_UNIMPLEMENTED = "12"


def problem(path: str, status: int, grpc_status: str | None, body: bytes) -> str:
    """Why the answer isn't a healthy one; empty when it is.

    `grpc_status` is there only when the server had no message to send. One without the health service
    has at least shown that it speaks gRPC.
    """
    if status != 200:
        return f"{path} answered {status}, wanted 200"
    if grpc_status == _UNIMPLEMENTED and path == METHOD:
        return ""
    if grpc_status not in (None, "0"):
        return f"{path} answered grpc-status {grpc_status}"
    if path == METHOD and body[5:] != _SERVING:
        return f"{path} answered that it is not serving"
    return ""
