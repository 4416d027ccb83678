"""nginx: what the upstream is told of an upgrade, and what it is not told (NG01 to NG09)."""

import re
from collections.abc import Iterator

from doctor.linting.family import Saw
from doctor.linting.nginx_case import NGINX, Case, of_header
from doctor.linting.nginx_parser import Directive


def _has_upgrade(value: str | None) -> bool:
    """A Connection that names Upgrade; what is not known is taken to be meant well."""
    return value is None or "upgrade" in re.split(r"[\s,]+", value.lower())


def _value(case: Case, found: Directive | None) -> str | None:
    """What a header is sent with: "" where it is not sent at all, None where that is not known."""
    if found is None:
        return None if case.passage.has_unknown_include() else ""
    return case.header_value(found)


def _upgrade_and_connection(case: Case) -> tuple[str | None, str | None]:
    return _value(case, case.header("upgrade")), _value(case, case.header("connection"))


def _is_lost_by_inheritance(case: Case) -> bool:
    """A block around sets what this one does not, because this one sets something else."""
    upgrade, connection = _upgrade_and_connection(case)
    outer = list(case.passage.outer("proxy_set_header"))
    loses_upgrade = upgrade == "" and case.header("upgrade") is None
    loses_connection = not _has_upgrade(connection) and case.header("connection") is None
    return (loses_upgrade and of_header(outer, "upgrade") is not None) or (
        loses_connection and of_header(outer, "connection") is not None
    )


def _passes_upgrade(case: Case) -> bool:
    upgrade, connection = _upgrade_and_connection(case)
    return (upgrade is None or upgrade.lower() == "websocket") and _has_upgrade(connection)


@NGINX.rule("NG01")
def upgrade_not_passed(case: Case) -> Iterator[Saw]:
    """The stream's location does not pass Upgrade on.

    Why:
        Upgrade and Connection are hop-by-hop (RFC 9110 section 7.8): nginx drops both unless
        told to send them. The gateway sees a plain GET and answers 426, 400 or 404; Twilio
        reports 31920. nginx 1.29.7 and newer speak HTTP/1.1 to the upstream by themselves, and
        still drop Upgrade.
    Fix:
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
    """
    if not case.is_stream or _is_lost_by_inheritance(case):
        return
    found = case.header("upgrade")
    upgrade, connection = _upgrade_and_connection(case)
    if upgrade == "":
        missing = "neither Upgrade nor Connection" if not _has_upgrade(connection) else "no Upgrade"
        written = f": {found.place}" if found else ""
        yield case.saw(
            f"{case.passage.place} passes {case.path} to {case.passage.upstream} with {missing}"
            f"{written}",
            found,
        )
    elif upgrade is not None and upgrade.lower() != "websocket" and found is not None:
        yield case.saw(f"{case.path} is passed on with Upgrade: {upgrade} ({found.told})", found)


@NGINX.rule("NG02")
def connection_not_upgrade(case: Case) -> Iterator[Saw]:
    """The stream is passed on with Upgrade, and with a Connection that does not name it.

    Why:
        A server may look at Upgrade only where Connection names it (RFC 9110 section 7.8). Without
        a proxy_set_header Connection nginx sends close; the gateway answers 426 or 400. The pair
        `Upgrade: websocket` and `Connection: close` is one that only a proxy makes.
    Fix:
        proxy_set_header Connection $http_connection;
    """
    if not case.is_stream or _is_lost_by_inheritance(case):
        return
    upgrade, connection = _upgrade_and_connection(case)
    if upgrade == "" or _has_upgrade(connection):
        return
    found = case.header("connection")
    sent = f'"{connection}" ({found.told})' if found else "close, nginx's own"
    yield case.saw(f"{case.path} is passed on with Upgrade and with Connection {sent}", found)


@NGINX.rule("NG03")
def headers_not_inherited(case: Case) -> Iterator[Saw]:
    """One proxy_set_header of a block's own drops all those of the blocks around it.

    Why:
        nginx inherits proxy_set_header whole or not at all: a location that sets one header loses
        every header that server{} or http{} set, Upgrade and Connection among them. The file
        reads as if they applied.
    Fix:
        Repeat in this block what it should have, or move its header to the block where the
        others are:
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
    """
    if case.is_stream and _is_lost_by_inheritance(case):
        own = case.passage.effective_all("proxy_set_header")[0]
        outer = list(case.passage.outer("proxy_set_header"))
        lost = of_header(outer, "upgrade") or of_header(outer, "connection")
        where = f", which is not inherited here: {lost.place}" if lost else ""
        yield case.saw(
            f"{own.place} stands in a block of its own, so {case.path} is passed on without the "
            f"headers of the blocks around{where}",
            own,
        )


@NGINX.rule("NG04", level="warning")
def http10_upstream(case: Case) -> Iterator[Saw]:
    """The stream is passed on in HTTP/1.0.

    Why:
        RFC 6455 section 4.1 wants HTTP/1.1 or newer. nginx speaks HTTP/1.0 to an upstream unless
        told otherwise (1.1 is the default from 1.29.7 on). Some gateways accept such an upgrade,
        others answer 400 or 426.
    Fix:
        proxy_http_version 1.1;
    """
    found = case.passage.effective("proxy_http_version")
    is_http10 = not case.may_be_elsewhere(found) if found is None else found.args == ("1.0",)
    if case.is_stream and _passes_upgrade(case) and is_http10:
        written = f"is told {found.told}" if found else "has no proxy_http_version"
        yield case.saw(
            f"{case.passage.place} {written}, so {case.path} goes on in HTTP/1.0"
            f"{'' if found else ' (before nginx 1.29.7)'}",
            found,
        )


@NGINX.rule("NG05", level="warning")
def connection_always_upgrade(case: Case) -> Iterator[Saw]:
    """Plain requests are passed on with `Connection: upgrade`, too.

    Why:
        A Connection that is written down as "upgrade" is sent with every request, the webhook's
        POST among them, and names an Upgrade that is not there. Some servers answer 400, or log
        "unsupported upgrade request".
    Fix:
        proxy_set_header Connection $http_connection;
    """
    found = case.header("connection")
    if case.role == "stream" or not case.passage.is_proxied or found is None:
        return
    value = case.header_value(found)
    upgrade = case.header("upgrade")
    has_upgrade = upgrade is not None and case.header_value(upgrade) != ""
    if value and _has_upgrade(value) and not has_upgrade:
        yield case.saw(f"{case.path} is posted with Connection: {value} ({found.told})", found)


@NGINX.rule("NG06")
def handshake_header_replaced(case: Case) -> Iterator[Saw]:
    """nginx changes or drops the client's Sec-WebSocket-Key or Sec-WebSocket-Version.

    Why:
        The gateway's answer is computed from the key (RFC 6455 section 4.2.2). Without it a strict
        gateway answers 400 or 426, and a lenient one answers another key, which Twilio refuses.
    Fix:
        Delete the directive: nginx passes both headers on by itself.
    """
    if not case.is_stream:
        return
    for name, sent in (("sec-websocket-key", "key"), ("sec-websocket-version", "13")):
        found = case.header(name)
        value = case.header_value(found) if found else None
        if found is not None and value is not None and value != sent:
            what = f"with {found.args[0]}: {value}" if value else f"without {found.args[0]}"
            yield case.saw(f"{case.path} is passed on {what} ({found.told})", found)
    off = case.passage.effective("proxy_pass_request_headers")
    if off is not None and off.args == ("off",) and case.header("sec-websocket-key") is None:
        yield case.saw(f"{case.path} is passed on without the client's headers ({off.told})", off)


@NGINX.rule("NG07")
def signature_removed(case: Case) -> Iterator[Saw]:
    """nginx does not pass X-Twilio-Signature on.

    Why:
        The gateway cannot tell Twilio from anybody else and answers 401 or 403; Twilio reports
        11200 for the webhook, 31920 for the stream.
    Fix:
        Delete the directive: nginx passes the header on by itself.
    """
    if not case.passage.is_proxied:
        return
    found = case.header("x-twilio-signature")
    if found is not None and case.header_value(found) not in ("signature", None):
        yield case.saw(f"{case.path} is passed on without its signature ({found.told})", found)
    off = case.passage.effective("proxy_pass_request_headers")
    if off is not None and off.args == ("off",) and found is None and case.role != "stream":
        yield case.saw(f"{case.path} is passed on without the client's headers ({off.told})", off)


@NGINX.rule("NG08")
def answer_header_hidden(case: Case) -> Iterator[Saw]:
    """nginx takes a header away that a 101 must have.

    Why:
        A 101 without Upgrade or Sec-WebSocket-Accept is no answer to a WebSocket handshake (RFC
        6455 section 4.1): the client drops the connection, though the gateway accepted it.
        Hiding Connection does no harm: nginx writes its own.
    Fix:
        Delete the directive.
    """
    if not case.is_stream:
        return
    for found in case.passage.effective_all("proxy_hide_header"):
        if found.args and found.args[0].lower() in ("upgrade", "sec-websocket-accept"):
            yield case.saw(f"the 101 of {case.path} is sent without it: {found.told}", found)


@NGINX.rule("NG09")
def upgrade_impossible(case: Case) -> Iterator[Saw]:
    """The stream goes to a handler that cannot upgrade.

    Why:
        FastCGI, uwsgi, SCGI, gRPC and memcached have no upgrade. Only proxy_pass switches to a
        stream of bytes after a 101.
    Fix:
        location = /voice/stream {
            proxy_pass http://127.0.0.1:8080;   # a server of WebSockets
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    """
    if case.role == "stream" and case.passage.ending == "handled":
        yield case.saw(f"{case.passage.place} hands {case.path} to {case.passage.at.told}")
