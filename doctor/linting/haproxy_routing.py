"""HAProxy: which backend takes a path, who may ask, in which protocol (HA03 to HA18)."""

import re
from collections.abc import Iterator

from doctor.linting.family import Saw
from doctor.linting.findings import Level
from doctor.linting.haproxy_case import HAPROXY, Case
from doctor.linting.haproxy_passage import binds

_OF_HTTP = re.compile(r"\b((req\.)?f?hdr(_\w+)?\(|path|url|base|METH_|method\b)")


@HAPROXY.rule("HA03")
def path_unrouted(case: Case) -> Iterator[Saw]:
    """No backend, or no server, takes the path: HAProxy answers 503.

    Why:
        The gateway never hears of the request. Twilio reports 11200 for the webhook; when only
        the stream has no backend the call begins, and ends with 31920. In mode http, and not in
        mode tcp, rules may ask for paths.
    Fix:
        use_backend voice if { path_beg /voice/ }   # or default_backend voice
    """
    passage = case.passage
    if passage.ending != "unrouted":
        return
    if passage.backend is not None:
        text = f"{case.path} goes to {passage.backend.told}, which has no server that is on"
    elif passage.by.words[0] in ("use_backend", "default_backend"):
        text = f"{case.path} goes to a backend that does not exist: {passage.by.place}"
    else:
        text = (
            f"no rule of {passage.frontend.told} takes {case.path}, and it has no default_backend"
        )
    yield case.saw(text, level=case.level)


@HAPROXY.rule("HA04")
def path_redirected(case: Case) -> Iterator[Saw]:
    """HAProxy answers the path with a redirect.

    Why:
        Twilio's stream follows none: anything but 101 is 31920. Behind a tunnel that ends TLS
        ssl_fc is never true, so a redirect to https never ends.
    Fix:
        http-request redirect scheme https unless { ssl_fc } or { path_beg /voice/ }
    """
    if case.passage.ending == "redirected":
        level: Level | None = None if case.role == "stream" else "warning"
        told = f"{case.path} is answered {case.passage.code}: {case.passage.by.place}"
        yield case.saw(told, level=level)


@HAPROXY.rule("HA05")
def path_refused(case: Case) -> Iterator[Saw]:
    """HAProxy answers the path itself, or hangs up.

    Why:
        The gateway never hears of the request. The stream is a GET without Origin and cookies, by
        Twilio.TmeWs/1.0, the webhook a POST by TwilioProxy/1.1: rules against scanners, scripts
        and methods hit either of them.
    Fix:
        http-request allow if { path_beg /voice/ }   # before the rule
    """
    if case.passage.ending == "answered" and case.passage.by.words[1] != "auth":
        method = f" (asked with {case.passage.request.method})"
        told = f"{case.path} is answered {case.passage.code}: {case.passage.by.place}{method}"
        yield case.saw(told, level=case.level)


@HAPROXY.rule("HA06")
def login_demanded(case: Case) -> Iterator[Saw]:
    """Twilio is asked for a login or a certificate that it does not have.

    Why:
        Twilio's stream sends neither Authorization nor a certificate: 401 is Twilio's 31920. A
        webhook may carry a user name and a password in its URL, hence a warning there. What
        vouches for Twilio is X-Twilio-Signature, and the gateway checks it.
    Fix:
        http-request auth unless { path_beg /voice/ } or { http_auth(STAFF) }
    """
    passage = case.passage
    if passage.ending == "answered" and passage.by.words[1] == "auth":
        level: Level | None = None if case.role == "stream" else "warning"
        yield case.saw(f"{case.path} needs a login: {passage.by.place}", level=level)
    for bind in binds(passage.frontend):
        if "ssl" in bind.words and bind.option("verify") == "required":
            yield case.saw(f"{case.path} needs a client certificate: {bind.place}", bind)


@HAPROXY.rule("HA09")
def paths_in_tcp_mode(case: Case) -> Iterator[Saw]:
    """Rules ask for paths or headers in a proxy that passes bytes on.

    Why:
        Without `mode http` a proxy is in mode tcp: it does not read requests, rules about paths
        and headers never match, and everything goes to the default backend.
    Fix:
        mode http   # in defaults, or in the frontend and its backends
    """
    frontend = case.passage.frontend
    if case.role != "stream" or frontend.mode != "tcp":
        return
    for line in frontend.lines:
        if line.words[0] in ("http-request", "http-response", "redirect"):
            yield case.saw(f"{frontend.told} is in mode tcp: {line.place}", line)
            return
        is_rule = line.words[0] in ("use_backend", "acl")
        if is_rule and _OF_HTTP.search(" ".join(line.words[1:])):
            yield case.saw(f"{frontend.told} is in mode tcp: {line.place}", line)
            return


@HAPROXY.rule("HA10")
def http2_to_server(case: Case) -> Iterator[Saw]:
    """The server is spoken to in HTTP/2.

    Why:
        A gateway that speaks HTTP/1.1 gets `PRI * HTTP/2.0` and hangs up: 502 or 503. A WebSocket
        in HTTP/2 is an extended CONNECT (RFC 8441), which few gateways know. With alpn the server
        decides: a warning then.
    Fix:
        server voice 127.0.0.1:8080   # without proto h2, or with alpn http/1.1
    """
    if not case.passage.is_proxied or case.role == "status":
        return
    for server in case.passage.servers:
        is_chosen = "h2" in (server.option("alpn") or "").split(",")
        if server.option("proto") == "h2" or is_chosen:
            level: Level | None = "warning" if is_chosen else None
            yield case.saw(f"{case.path} goes on in HTTP/2: {server.place}", server, level=level)


@HAPROXY.rule("HA11")
def http2_only_bind(case: Case) -> Iterator[Saw]:
    """An address speaks HTTP/2 and nothing else.

    Why:
        Twilio's stream, and most tunnels, speak HTTP/1.1. With alpn h2 alone there is nothing to
        agree on, with proto h2 an HTTP/1.1 request is answered by a hang-up.
    Fix:
        bind :443 ssl crt voice.pem alpn h2,http/1.1
    """
    for bind in binds(case.passage.frontend):
        if case.role == "stream" and (
            bind.option("proto") == "h2" or (bind.option("alpn") or "") == "h2"
        ):
            yield case.saw(f"{case.path} cannot be asked for in HTTP/1.1: {bind.place}", bind)


@HAPROXY.rule("HA14")
def tls_mismatch(case: Case) -> Iterator[Saw]:
    """The server's port speaks TLS and HAProxy does not, or the other way round.

    Why:
        Plain HTTP to a TLS port, and TLS to a plain port, end in 502 or 503.
    Fix:
        server voice 127.0.0.1:443 ssl verify required ca-file CA.pem
    """
    if not case.passage.is_proxied or case.role == "status" or case.passage.state.is_tcp:
        return
    for server in case.passage.servers:
        has_tls = "ssl" in server.words[3:]
        port = server.words[2].rpartition(":")[2]
        if port == ("80" if has_tls else "443"):
            spoken = "TLS" if has_tls else "plain HTTP"
            yield case.saw(f"{spoken} is spoken to port {port}: {server.place}", server)


@HAPROXY.rule("HA18", level="warning")
def addresses_refused(case: Case) -> Iterator[Saw]:
    """Only some addresses may ask for a voice path.

    Why:
        Twilio publishes no fixed addresses for its streams, so a list of allowed ones fails
        sooner or later.
    Fix:
        http-request deny unless { src 192.0.2.0/24 } or { path_beg /voice/ }
    """
    for doubt in case.passage.doubts if case.passage.is_proxied else ():
        if doubt.refuses_far and doubt.refuses_near:
            yield case.saw(f"{case.path} is refused to most: {doubt.line.place}", doubt.line)
