"""AN: what the gateway answers to a whole upgrade, and 101s that are none."""

from typing import Any

from doctor.evidence import Answer, Probe, Sight
from doctor.rules import rule
from doctor.rules.ways import (
    gateway_answer,
    is_gateway,
    is_in_front,
    is_repeated,
    to_gateway,
    wants_tls,
)

_SELECTIONS = ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")
_BODIES = ("Content-Length", "Transfer-Encoding", "Content-Encoding")


def _gateway(sight: Sight) -> str:
    """Who answered: the hop, or what stands behind a sidecar that speaks for it."""
    hop = sight.probe.hop
    return hop.name if hop.kind == "gateway" else f"the gateway behind {hop.name}"


def _flaws(sight: Sight, *fields: str) -> list[dict[str, Any]]:
    """What is wrong with the 101 that came, among these fields, and was right behind."""
    exchange = to_gateway(sight) or sight.probe.upgrade
    answer = exchange.answer if exchange is not None else None
    if answer is None or answer.status != 101 or is_repeated(sight):
        return []
    return [flaw for flaw in answer.violations if flaw.get("field") in fields]


def _quoted(flaw: dict[str, Any]) -> str:
    saw = "missing" if flaw.get("saw") is None else repr(flaw["saw"])
    return f"{flaw.get('field')} is {saw} (wanted: {flaw.get('wanted')})"


def _who(sight: Sight) -> str:
    return _gateway(sight) if is_gateway(sight) else sight.probe.hop.name


@rule("AN01")
def switch_malformed(sight: Sight) -> str | None:
    """The 101 does not say that it switches to WebSocket.

    Why:
        A 101 carries `Upgrade: websocket` and `Connection: Upgrade` (RFC 6455 section 4.2.2),
        and clients fail the connection without them. nginx writes them by itself, so it works
        behind nginx and nowhere else; HAProxy answers 502, Traefik 500, Caddy an empty 200.
    Evidence:
        The fields of the 101 that came.
    Fix gateway:
        HTTP/1.1 101 Switching Protocols
        Upgrade: websocket
        Connection: Upgrade
        Sec-WebSocket-Accept: ...
    Fix nginx:
        Remove `proxy_hide_header Upgrade;` and the like.
    Fix haproxy:
        Remove `http-response del-header Upgrade`.
    Fix:
        Send both fields with the 101.
    """
    flaws = _flaws(sight, "Upgrade", "Connection", "HTTP version")
    if not flaws:
        return None
    return f"{_who(sight)} answered a malformed 101: {'; '.join(map(_quoted, flaws))}"


@rule("AN02")
def switch_with_body(sight: Sight) -> str | None:
    """The 101 announces a body.

    Why:
        There is no body behind a 101 (RFC 9110 section 6.4.1). Envoy and mitmproxy answer 502
        to Transfer-Encoding; a Content-Encoding keeps Cloudflare from finishing the handshake
        with clients that did not ask for it, Twilio among them.
    Evidence:
        The fields of the 101 that came.
    Fix gateway:
        Keep compression and chunking middleware away from upgrades.
    Fix:
        Send a 101 without Transfer-Encoding, Content-Encoding and Content-Length.
    """
    flaws = [flaw for flaw in _flaws(sight, *_BODIES) if not _is_harmless(flaw)]
    if not flaws:
        return None
    said = ", ".join(f"{flaw['field']}: {flaw['saw']}" for flaw in flaws)
    return f"{_who(sight)} answered a 101 that announces a body: {said}"


def _is_harmless(flaw: dict[str, Any]) -> bool:
    return (flaw.get("field"), flaw.get("saw")) == ("Content-Length", "0")


@rule("AN03")
def unoffered_selected(sight: Sight) -> str | None:
    """The 101 selects what was not offered.

    Why:
        A server may only select among the subprotocols and extensions that the client offers
        (RFC 6455 section 4.1), and the client must fail the connection otherwise. Twilio
        offers none of either.
    Evidence:
        Sec-WebSocket-Protocol or -Extensions on the 101, and not on the request.
    Fix gateway:
        Select a subprotocol only where the request offers it.
    Fix nginx:
        Remove `add_header Sec-WebSocket-Protocol`.
    Fix:
        Answer without Sec-WebSocket-Protocol and -Extensions where none were offered.
    """
    flaws = _flaws(sight, *_SELECTIONS)
    if not flaws:
        return None
    said = ", ".join(f"{flaw['field']}: {flaw['saw']}" for flaw in flaws)
    return f"{_who(sight)} selects what was not offered: {said}"


@rule("AN12", level="warning")
def switch_with_empty_body(sight: Sight) -> str | None:
    """The 101 has a Content-Length of 0.

    Why:
        RFC 9110 section 8.6 forbids it. All proxies that were tested take it; some strict
        clients do not.
    Evidence:
        The field on the 101.
    Fix:
        Send the 101 without Content-Length.
    """
    if not any(_is_harmless(flaw) for flaw in _flaws(sight, "Content-Length")):
        return None
    return f"{_who(sight)} answered a 101 with Content-Length: 0"


def _refused(sight: Sight, low: int, high: int, *but: int) -> Answer | None:
    answer = gateway_answer(sight)
    if answer is None or not low <= answer.status < high or answer.status in but:
        return None
    return answer


def _status(answer: Answer) -> str:
    return f"{answer.status} {answer.reason}".strip()


@rule("AN04")
def gateway_lacks_path(sight: Sight) -> str | None:
    """The gateway has no WebSocket at the stream's path.

    Why:
        The route is another one, or has another slash at its end; or the server has no
        WebSocket support at all: uvicorn without `websockets` or `wsproto` answers 404 to every
        upgrade, and OpenClaw without speech recognition has no handler for them.
    Evidence:
        The gateway's own 404 to a whole upgrade.
    Fix gateway:
        pip install 'uvicorn[standard]'      # its log: "No supported WebSocket library detected"
        @app.websocket("/voice/stream")      # the path that the TwiML advertises, to the letter
    Fix:
        Serve the stream's path; hopscope doctor --stream-path names another one.
    """
    answer = _refused(sight, 404, 405) or _refused(sight, 410, 411)
    if answer is None:
        return None
    return (
        f"{_gateway(sight)} has no WebSocket at {sight.stream_path}: it answered {_status(answer)} "
        "to a whole upgrade"
    )


@rule("AN05")
def gateway_answered_page(sight: Sight) -> str | None:
    """The gateway answers the upgrade with a page.

    Why:
        A catch-all route (a single-page application's index, a health page) takes the path
        before the WebSocket, or the server ignores Upgrade as RFC 9110 section 7.8 lets it.
    Evidence:
        The gateway's own 2xx to a whole upgrade.
    Fix gateway:
        Register the WebSocket route before the catch-all; use an ASGI server, not WSGI.
    Fix:
        Serve a WebSocket at the stream's path.
    """
    answer = _refused(sight, 200, 300)
    if answer is None:
        return None
    return (
        f"{_gateway(sight)} answered {_status(answer)} to a whole upgrade: something else than a "
        f"WebSocket is served at {sight.stream_path}"
    )


@rule("AN06")
def gateway_failed(sight: Sight) -> str | None:
    """The gateway fails at the upgrade.

    Why:
        An exception before the handshake was accepted, a synchronous worker that cannot
        upgrade, or no room for another stream.
    Evidence:
        The gateway's own 5xx to a whole upgrade.
    Fix gateway:
        Its log has the traceback. 503: raise the number of streams that it takes.
    Fix:
        Look into the gateway's log at the time of the probe.
    """
    answer = _refused(sight, 500, 600)
    if answer is None:
        return None
    return f"{_gateway(sight)} answered {_status(answer)} to a whole upgrade"


@rule("AN07")
def gateway_refused_handshake(sight: Sight) -> str | None:
    """The gateway refuses the handshake.

    Why:
        A whole upgrade of version 13 was not to its taste: it wants an Origin (Twilio sends
        none), a subprotocol, another Host, another method, or it takes 5 calls at a time.
    Evidence:
        The gateway's own 4xx to a whole upgrade, other than 401, 403 and 404.
    Fix gateway:
        Take an upgrade without Origin, subprotocol and cookies: that is what Twilio sends.
    Fix:
        See what the gateway says in the body or its log.
    """
    answer = _refused(sight, 400, 500, 401, 403, 404, 410)
    if answer is None:
        return None
    said = " ".join(answer.body.split())[:100]
    return (
        f"{_gateway(sight)} answered {_status(answer)} to a whole upgrade"
        f"{f': {said!r}' if said else ''}"
    )


@rule("AN08", level="warning")
def signed_upgrade_refused(sight: Sight) -> str | None:
    """The gateway refuses an upgrade that was signed as Twilio signs.

    Why:
        Its auth token is another one, or it computes the signature over another URL than the
        public one: http for https, its own port, a path that a hop rewrote.
    Evidence:
        401 or 403 to an upgrade that carried X-Twilio-Signature over the public URL.
    Fix gateway:
        HOPSCOPE_PUBLIC_URL=https://voice.example.com and the same TWILIO_AUTH_TOKEN; the
        gateway's log says what the signature would be right for.
    Fix:
        Give both the same token, and the gateway its public URL.
    """
    exchange = to_gateway(sight)
    answer = _refused(sight, 401, 404, 402)
    signed = exchange is not None and any(
        name.lower() == "x-twilio-signature" for name, _ in exchange.fields
    )
    if answer is None or not signed:
        return None
    return f"{_gateway(sight)} answered {_status(answer)} to a signed upgrade"


@rule("AN09")
def gateway_silent(sight: Sight) -> str | None:
    """The gateway takes the upgrade and never answers.

    Why:
        A handler waits for something (a model, a database, a lock) before it accepts, all
        workers are busy, or the server cannot upgrade and waits for a body.
    Evidence:
        The request was sent, and nothing came in time.
    Fix gateway:
        Accept the stream first and prepare afterwards; Twilio gives up after 5 s.
    Fix:
        See what the gateway waits for.
    """
    exchange = to_gateway(sight)
    if exchange is None or exchange.fault != "timeout":
        return None
    if exchange.answer is not None and exchange.answer.stamp is not None:
        return None
    return f"{_gateway(sight)} took the upgrade and did not answer in {exchange.ms / 1000:.1f} s"


@rule("AN10")
def gateway_hung_up(sight: Sight) -> str | None:
    """The gateway closes the connection in place of an answer.

    Why:
        The process crashed, or a handler destroys the socket of an upgrade that it does not
        want (Node's `socket.destroy()`). Any proxy in front turns this into a 502.
    Evidence:
        EOF or a reset before a status line.
    Fix gateway:
        Answer 404 or 400 before the socket is closed; see its log for a crash.
    Fix:
        Look into the gateway's log at the time of the probe.
    """
    exchange = to_gateway(sight)
    if exchange is None or exchange.answer is not None or exchange.fault not in ("eof", "reset"):
        return None
    if wants_tls(sight):
        return None
    how = "reset" if exchange.fault == "reset" else "closed"
    return f"{_gateway(sight)} {how} the connection in place of an answer"


@rule("AN11")
def stream_ended_at_once(sight: Sight, probe: Probe) -> str | None:
    """The gateway answers 101 and ends the stream at once.

    Why:
        The handler raised or returned right behind the handshake: 1011, or EOF without a
        Close. (1008 is a refusal of who is not Twilio, and no fault.)
    Evidence:
        The stream ended within a moment of the 101, before anything was sent.
    Fix gateway:
        Its log has the traceback.
    Fix:
        Look into the gateway's log at the time of the probe.
    """
    echo = probe.phase("echo")
    if echo is None or echo.fault != "cut" or probe.echoes or is_in_front(sight):
        return None
    behind = sight.behind.phase("echo") if sight.behind else None
    if behind is not None and behind.fault == "cut":
        return None
    return f"{_who(sight)} answered 101 and ended the stream at once: {echo.detail}"
