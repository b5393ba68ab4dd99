"""The variables of TLS and of proxying, and how they become what a site is served with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.serving import Edge, HttpsMethod, Protocol, Proxying, Tls
from gateway.settings import rules
from gateway.settings.variable import Scope, Variable

CERTS_DIR = "/etc/gateway/certs"
_EDGE, _TLS, _PROXYING = Edge(), Tls(), Proxying()


def _switch(*, on: bool) -> str:
    return "on" if on else "off"


EDGE: tuple[Variable, ...] = (
    Variable(
        "CERTS_DIR",
        rules.FILE,
        CERTS_DIR,
        "Folder of the certificates: `<domain>.crt` (with its chain) and `<domain>.key`.",
        "/srv/certs",
        Scope.GATEWAY,
    ),
    Variable(
        "HTTPS_PORT",
        rules.PORT,
        f"{_EDGE.https_port}",
        "Port on which nginx serves the sites that have a certificate.",
        "8443",
        Scope.GATEWAY,
    ),
    Variable(
        "EXTERNAL_HTTPS_PORT",
        rules.PORT,
        f"{_EDGE.external_https_port}",
        "That port as clients see it: redirects lead there.",
        "8443",
        Scope.GATEWAY,
    ),
    Variable(
        "HTTP3",
        rules.SWITCH,
        _switch(on=_EDGE.http3),
        "HTTP/3 on the HTTPS port; publish it for UDP too. Connections over it end at a reload.",
        "on",
        Scope.GATEWAY,
    ),
    Variable(
        "ACME_DIR",
        rules.FILE,
        _EDGE.acme_dir,
        "Folder from which `/.well-known/acme-challenge/` is answered over HTTP, whatever the site does.",
        "/srv/acme",
        Scope.GATEWAY,
    ),
    Variable(
        "TRUSTED_PROXIES",
        rules.NETWORKS,
        None,
        "Networks of the proxies in front, whose `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Request-Id` "
        "are believed. Nobody else's are.",
        "10.0.0.0/8,2001:db8::/32",
        Scope.GATEWAY,
    ),
    Variable(
        "FORWARDED_HEADER",
        rules.SWITCH,
        _switch(on=_EDGE.forwarded_header),
        "Also tell applications of the client in a `Forwarded` header (RFC 7239).",
        "on",
        Scope.GATEWAY,
    ),
)

TLS: tuple[Variable, ...] = (
    Variable(
        "HTTPS_METHOD",
        rules.choice(*HttpsMethod),
        str(_TLS.method),
        "With a certificate: send HTTP to HTTPS, serve both, only HTTPS, or only HTTP.",
        "noredirect",
        foreign="HTTPS_METHOD",
    ),
    Variable(
        "CERT_NAME",
        rules.FILE_STEM,
        None,
        "Certificate to use for all of the site's domains: the file's name without `.crt`. Unset, each "
        "domain's own or its parent domain's.",
        "wildcard.example.com",
        foreign="CERT_NAME",
    ),
    Variable(
        "HSTS_S",
        rules.whole(0, 315360000),
        f"{_TLS.hsts_s}",
        "Seconds for which browsers shall come by HTTPS only (`Strict-Transport-Security`); 0 sends no such "
        "header. It can't be taken back.",
        "63072000",
    ),
)

PROXYING: tuple[Variable, ...] = (
    Variable(
        "PROTOCOL",
        rules.choice(*Protocol),
        str(_PROXYING.protocol),
        "What the application speaks. With `grpc`, clients come over HTTP/2, with TLS or without.",
        "grpc",
        foreign="VIRTUAL_PROTO",
    ),
    Variable(
        "MAX_BODY",
        rules.SIZE,
        f"{_PROXYING.max_body >> 20}m",
        "Largest request body; 0 for any. A gRPC stream is one body.",
        "2g",
    ),
    Variable(
        "CONNECT_TIMEOUT_S",
        rules.seconds(0.1, 75),
        f"{_PROXYING.connect_timeout_s:g}",
        "Seconds to connect to the application.",
        "5",
    ),
    Variable(
        "READ_TIMEOUT_S",
        rules.seconds(1, 86400),
        f"{_PROXYING.read_timeout_s:g}",
        "Seconds that the application may be silent in an answer or a WebSocket.",
        "60",
    ),
    Variable(
        "SEND_TIMEOUT_S",
        rules.seconds(1, 86400),
        f"{_PROXYING.send_timeout_s:g}",
        "Seconds for which the application may take nothing of a request.",
        "60",
    ),
    Variable(
        "STREAM_UPLOADS",
        rules.SWITCH,
        _switch(on=_PROXYING.stream_uploads),
        "Pass request bodies on as they come, instead of whole. The application then meets slow clients "
        "itself, and a request is not tried again on another replica once its body has begun.",
        "on",
    ),
    Variable(
        "GZIP",
        rules.SWITCH,
        _switch(on=_PROXYING.gzip),
        "Compress text answers that the application has not compressed.",
        "on",
    ),
    Variable(
        "RATE_LIMIT",
        rules.RATE,
        None,
        "Requests that one client address may make a second (`r/s`) or minute (`r/m`); more get 429.",
        "20r/s",
    ),
    Variable(
        "RATE_BURST",
        rules.whole(0, 100000),
        f"{_PROXYING.rate_burst}",
        "Requests above `RATE_LIMIT` that are let through before.",
        "100",
    ),
    Variable(
        "CONNECTION_LIMIT",
        rules.whole(1, 65535),
        None,
        "Requests that one client address may have in flight at a time, WebSockets included; more get 429.",
        "50",
    ),
)


def edge(values: Mapping[str, Any]) -> Edge:
    """`values`: by name without the prefix."""
    return Edge(
        https_port=values["HTTPS_PORT"],
        external_https_port=values["EXTERNAL_HTTPS_PORT"],
        http3=values["HTTP3"],
        acme_dir=values["ACME_DIR"],
        trusted_proxies=values["TRUSTED_PROXIES"] or (),
        forwarded_header=values["FORWARDED_HEADER"],
    )


def tls(values: Mapping[str, Any]) -> Tls:
    return Tls(HttpsMethod(values["HTTPS_METHOD"]), values["HSTS_S"], values["CERT_NAME"])


def proxying(values: Mapping[str, Any]) -> Proxying:
    return Proxying(
        protocol=Protocol(values["PROTOCOL"]),
        max_body=values["MAX_BODY"],
        connect_timeout_s=values["CONNECT_TIMEOUT_S"],
        read_timeout_s=values["READ_TIMEOUT_S"],
        send_timeout_s=values["SEND_TIMEOUT_S"],
        stream_uploads=values["STREAM_UPLOADS"],
        gzip=values["GZIP"],
        rate_limit=values["RATE_LIMIT"],
        rate_burst=values["RATE_BURST"],
        connection_limit=values["CONNECTION_LIMIT"],
    )
