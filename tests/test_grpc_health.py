"""When a gRPC server counts as healthy."""

from __future__ import annotations

import pytest

from gateway.adapters.grpc_health import METHOD, problem

MESSAGE = bytes([0, 0, 0, 0, 2])


@pytest.mark.parametrize(
    ("path", "status", "grpc_status", "body", "said"),
    [
        (METHOD, 200, None, MESSAGE + b"\x08\x01", ""),
        (METHOD, 200, None, MESSAGE + b"\x08\x02", f"{METHOD} answered that it is not serving"),
        (METHOD, 200, None, bytes(5), f"{METHOD} answered that it is not serving"),
        (METHOD, 200, "12", b"", ""),  # no health service, but it speaks gRPC
        (METHOD, 200, "5", b"", f"{METHOD} answered grpc-status 5"),
        (METHOD, 502, None, b"", f"{METHOD} answered 502, wanted 200"),
        ("/a.B/C", 200, None, MESSAGE + b"xy", ""),
        ("/a.B/C", 200, "12", b"", "/a.B/C answered grpc-status 12"),
    ],
)
def test_the_answer_tells(path: str, status: int, grpc_status: str | None, body: bytes, said: str) -> None:
    assert problem(path, status, grpc_status, body) == said
