"""HAProxy: what a server is told, and what becomes of its 101 (HA01, HA02, HA12 to HA16)."""

import re
from collections.abc import Iterator

from doctor.linting import haproxy_answer
from doctor.linting.family import Saw
from doctor.linting.haproxy_case import HAPROXY, Case
from doctor.linting.moves import level_of_move

_WANTED = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}


@HAPROXY.rule("HA01")
def handshake_header_removed(case: Case) -> Iterator[Saw]:
    """A rule takes a header of the handshake away, or changes it.

    Why:
        HAProxy passes Upgrade and Connection on by itself, and the server answers what it gets.
        Without Upgrade it sees a plain GET (426, 400, 404), without Connection a strict one
        refuses. If Sec-WebSocket-Key is gone HAProxy makes up another, and the answer fits that
        one: Twilio refuses it.
    Fix:
        Delete the rule, or take the stream out of it:
        http-request del-header Upgrade unless { path_beg /voice/stream }
    """
    if not case.is_stream:
        return
    for name, wanted in (*_WANTED.items(), ("sec-websocket-key", "key")):
        change = case.passage.header(name)
        if change is None or change.value is None:
            continue
        if wanted not in re.split(r"[\s,]+", change.value.lower()):
            how = f"with {name}: {change.value}" if change.value else f"without {name}"
            yield case.saw(f"{case.path} is passed on {how}: {change.line.place}", change.line)


@HAPROXY.rule("HA02")
def path_rewritten(case: Case) -> Iterator[Saw]:
    """A rule changes the path before it is passed on.

    Why:
        The gateway is asked for another path than Twilio asked for, and computes the signature
        over another URL than Twilio signed. If webhook and stream are changed alike it may be
        meant: a warning then.
    Fix:
        Delete the rule, or take the voice paths out of it:
        http-request replace-path /api/(.*) /\\1 unless { path_beg /voice/ }
    """
    passage = case.passage
    if not passage.is_proxied or not passage.path_rules or passage.target == passage.request.path:
        return
    rule = passage.path_rules[-1]
    if not passage.target:
        yield case.saw(
            f"{case.path} becomes what is not known here: {rule.place}", rule, level="warning"
        )
        return
    role = "webhook" if case.role == "stream" else "stream"
    others = [each for each in case.beside if each.request.role == role and each.is_proxied]
    pair = (others[0].request.path, others[0].target) if others else None
    level = level_of_move(passage.request.path, passage.target, pair)
    level = case.level if case.role == "status" else level
    yield case.saw(f"{case.path} becomes {case.target}: {rule.place}", rule, level=level)


@HAPROXY.rule("HA12", level="warning")
def host_replaced(case: Case) -> Iterator[Saw]:
    """The gateway is told another Host than the public one.

    Why:
        A gateway that rebuilds the public URL from Host computes another signature (403, Twilio
        11200), and writes a stream URL into TwiML that nobody can reach.
    Fix:
        Delete the rule: HAProxy passes Host on as it came.
    """
    change = case.passage.header("host")
    if not case.passage.is_proxied or change is None or change.value is None:
        return
    if change.value != case.passage.request.host:
        yield case.saw(
            f"{case.path} is passed on with Host: {change.value} ({change.line.place})", change.line
        )


@HAPROXY.rule("HA13", level="warning")
def scheme_untold(case: Case) -> Iterator[Saw]:
    """The gateway is not told that Twilio asked for https, or is told http.

    Why:
        X-Twilio-Signature is made over the public URL, https included. A gateway that trusts
        X-Forwarded-Proto computes it over http:// and answers 403 (Twilio 11200).
    Fix:
        http-request set-header X-Forwarded-Proto https
    """
    passage = case.passage
    if not passage.is_proxied or passage.state.is_tcp:
        return
    change = passage.header("x-forwarded-proto")
    if (
        change is None
        and passage.state.has_tls
        and passage.frontend.last("option", "forwarded") is None
    ):
        yield case.saw(f"{case.path} came by https, and is passed on without X-Forwarded-Proto")
    elif change is not None and change.value == "http":
        is_https = passage.state.has_tls or case.paths.scheme == "https"
        if is_https or case.paths.scheme == "":
            yield case.saw(f"{case.path} is passed on as http: {change.line.place}", change.line)


@HAPROXY.rule("HA15")
def signature_removed(case: Case) -> Iterator[Saw]:
    """A rule takes X-Twilio-Signature away, or changes it.

    Why:
        The gateway cannot tell Twilio from anybody else and answers 401 or 403; Twilio reports
        11200 for the webhook, 31920 for the stream.
    Fix:
        Delete the rule, or take the voice paths out of it.
    """
    change = case.passage.header("x-twilio-signature")
    if case.passage.is_proxied and change is not None and change.value != "signature":
        yield case.saw(
            f"{case.path} is passed on without its signature: {change.line.place}", change.line
        )


@HAPROXY.rule("HA16")
def answer_changed(case: Case) -> Iterator[Saw]:
    """A rule for answers spoils the 101.

    Why:
        A 101 needs Upgrade, Connection and the Sec-WebSocket-Accept that fits the client's key
        (RFC 6455 section 4.1); a rule that hides everything but 200 hides the 101, too. The
        client drops what the gateway accepted.
    Fix:
        http-response del-header Upgrade unless { status 101 }
    """
    if case.is_stream and not case.passage.state.is_tcp:
        for line, how in haproxy_answer.changes(case.passage):
            yield case.saw(f"the 101 of {case.path} {how}: {line.place}", line)
