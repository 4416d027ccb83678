"""A request on its way to the upstream and its response on the way back, at the same time.

Both bodies move in one task: an upstream may answer before it has read the whole request, send
100 (Continue) first, or break off, and each of that is seen in the order it happened.
"""

import asyncio
import time
from time import perf_counter
from typing import TYPE_CHECKING

from proxy import twiml
from proxy.body import Body, BodyCopy, CloseBody, response_body
from proxy.exchange import Exchange, Outcome
from proxy.http1 import (
    Malformed,
    RequestHead,
    ResponseHead,
    head_end,
    list_items,
    parse_response_head,
    with_response_fields,
)
from proxy.promises import Webhook
from proxy.routes import Route
from proxy.session import Session
from proxy.stream_url import hosts_of
from proxy.wire import Wire, changed

if TYPE_CHECKING:
    from proxy.connection import Connection

# A client whose EOF came before the answer to its upgrade may still be reading; not for long.
CLIENT_GONE_S = 1.0
INTERIM_LIMIT = 16  # 1xx responses before a final one


class Failed(Exception):  # noqa: N818 - an outcome, not an error of ours
    """The exchange ends here. `status` is what the client is told, None where nobody listens."""

    def __init__(
        self, outcome: Outcome, error: str | None, reason: str, status: int | None = 503
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.error = error
        self.reason = reason
        self.status = status


class Transfer:
    """One exchange between its two wires."""

    def __init__(
        self,
        connection: "Connection",
        exchange: Exchange,
        route: Route,
        body: Body,
        server: Wire,
        started: float,
    ) -> None:
        self.is_switched = False
        self._connection = connection
        self._sidecar = connection.sidecar
        self._client, self._server = connection.client, server
        self._exchange, self._route = exchange, route
        self._body = body
        self._response: ResponseHead | None = None
        self._response_body: Body | None = None
        self._interim = 0
        self._is_asked = False  # the upstream has the whole request: it is its turn
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._sent = perf_counter()
        self._sent_at = self._moved_at = self._loop.time()
        self._moved = -1
        self._limit = connection.sidecar.settings.limits.write_buffer_bytes

    async def run(self) -> bool:
        """Carry the exchange to its end; whether the client may send another request after it."""
        while True:
            self._pass_request_body()
            if self._response is None:
                self._read_response()
            if self.is_switched:
                return False
            if self._response_body is not None:
                self._pass_response_body(self._response_body)
                if self._response_body.is_complete and not self._client.out:
                    return self._finish()
            self._check_endings()
            if not await changed(self._deadline(), self._client, self._server):
                self._check_patience()

    @property
    def _has_answered(self) -> bool:
        return self._response is not None

    def _pass_request_body(self) -> None:
        if self._body.is_complete or len(self._server.out) >= self._limit:
            return
        try:
            taken = self._body.receive_data(self._client.buffer)
        except Malformed as malformed:
            # The upstream sees a body that breaks off, never one that ends.
            raise self._failure(
                "malformed", "http_request_error", malformed.reason, 400
            ) from malformed
        self._exchange.received_bytes += taken
        self._server.send(self._client.take(taken))

    def _read_response(self) -> None:
        """Pass on interim responses; take the final head, or the 101."""
        while self._response is None:
            head = self._next_head()
            if head is None:
                return
            if head.status >= 200 or head.status == 101:
                self._receive_response(head)
                return
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise self._not_http(f"more than {INTERIM_LIMIT} interim responses")
            self._client.send(head.raw)

    def _next_head(self) -> ResponseHead | None:
        server, limits = self._server, self._sidecar.settings.limits
        start = bytes(server.buffer[:7])
        if start != b"HTTP/1."[: len(start)]:
            raise self._not_http(_explain_answer(bytes(server.buffer[:16])))
        try:
            end = head_end(server.buffer)
            if end > limits.head_bytes or (not end and len(server.buffer) >= limits.head_bytes):
                raise Malformed(f"its head is longer than {limits.head_bytes} bytes")
            return parse_response_head(server.take(end)) if end else None
        except Malformed as malformed:
            raise self._not_http(malformed.reason) from malformed

    def _receive_response(self, head: ResponseHead) -> None:
        exchange, request = self._exchange, self._exchange.request
        assert request is not None  # noqa: S101 - a Transfer starts from a parsed request
        try:
            body = response_body(head, request.method)
        except Malformed as malformed:
            raise self._not_http(malformed.reason) from malformed
        exchange.phases["response"] = (perf_counter() - self._sent) * 1000
        exchange.answer(head)
        self._response = head
        # A field of its own behind the others: RFC 9209 section 2 lists hops in this order.
        stamped = with_response_fields(self._route.forwarded_response(head))
        raw = stamped.raw[:-2] + f"Proxy-Status: {exchange.stamp}\r\n\r\n".encode("latin-1")
        self._client.send(raw)
        if head.status == 101:
            self._switch()
            return
        self._response_body = body
        # Of another status Twilio reads no TwiML (error 11200); a probe of ours is no call.
        is_document = "xml" in (head.value("Content-Type") or "").lower() and head.status < 300
        if is_document and exchange.probe_id is None:
            body.copy = BodyCopy(twiml.DOCUMENT_LIMIT)

    def _pass_response_body(self, body: Body) -> None:
        if self._server.eof and not self._server.buffer:
            body.receive_eof()
        if body.is_complete or len(self._client.out) >= self._limit:
            return
        try:
            taken = body.receive_data(self._server.buffer)
        except Malformed as malformed:
            raise self._failure(
                "upstream_closed", "http_protocol_error", malformed.reason, None
            ) from malformed
        self._exchange.sent_bytes += taken
        self._client.send(self._server.take(taken))
        if self._server.eof and not self._server.buffer:
            body.receive_eof()

    def _switch(self) -> None:
        """The 101 is on its way: hand both sockets to the relay, byte for byte from here."""
        exchange, connection = self._exchange, self._connection
        self._tell()
        session = Session(
            exchange.id,
            self._route.name,
            exchange.ingress,
            perf_counter(),
            is_websocket=exchange.is_handshake,
            sampling=self._sidecar.sampling,
        )
        self.is_switched = True
        self._sidecar.begin_session(session, self._client, self._server, connection.give_place())

    def _finish(self) -> bool:
        exchange, response = self._exchange, self._response
        assert exchange.request is not None and response is not None  # noqa: S101, PT018
        self._read_form()
        self._tell()
        self._look_for_streams(exchange.request, response)
        return self._body.is_complete and _is_persistent(
            exchange.request, response, self._response_body
        )

    def _read_form(self) -> None:
        """Take what a webhook or a status callback of Twilio's tells of its call."""
        form = self._body.copy
        posted = twiml.read_form(bytes(form.data)) if form and not form.is_cut else None
        if posted is not None:
            self._exchange.call_sid = self._exchange.call_sid or posted.call_sid
            self._sidecar.promises.receive_form(posted, time.monotonic())

    def _look_for_streams(self, request: RequestHead, response: ResponseHead) -> None:
        document = self._response_body.copy if self._response_body is not None else None
        if document is None or document.is_cut:
            return
        codings = list_items(response.values("Content-Encoding"))
        content = twiml.decoded(bytes(document.data), codings)
        streams = twiml.advertised_streams(content) if content else []
        webhook = Webhook(
            self._exchange.id,
            self._exchange.call_sid,
            hosts_of(request),
            is_signed=bool(request.values("X-Twilio-Signature")),
        )
        self._sidecar.promises.expect(streams, webhook, time.monotonic())

    def _tell(self) -> None:
        self._exchange.phases["total"] = (perf_counter() - self._started) * 1000
        self._sidecar.telemetry.exchange_ended(self._exchange)

    # -- endings -----------------------------------------------------------------------------

    def _check_endings(self) -> None:
        client, server = self._client, self._server
        if client.is_gone:
            raise self._failure("client_left", None, "the client reset the connection", None)
        # Whatever could be passed on of either body has been, where its receiver has room.
        if client.eof and not self._body.is_complete and len(server.out) < self._limit:
            reason = "the client closed within the request body"
            raise self._failure("client_left", None, reason, None)
        has_room = not self._has_answered or len(client.out) < self._limit
        if server.is_ended and has_room and not self._is_delivering:
            raise self._upstream_closed()

    @property
    def _is_delivering(self) -> bool:
        """The response is complete and the client has yet to take the rest of it."""
        return self._response_body is not None and self._response_body.is_complete

    def _upstream_closed(self) -> Failed:
        how = "reset the connection" if self._server.is_gone else "closed the connection"
        if self._has_answered:
            reason = f"the upstream {how} within its response"
            return self._failure("upstream_closed", "http_response_incomplete", reason, None)
        if self._server.received:
            reason = f"the upstream {how} within its response head"
            return self._failure("upstream_closed", "http_response_incomplete", reason, 503)
        reason = f"the upstream {how} without an answer (does it expect TLS on this port?)"
        return self._failure("upstream_closed", "connection_terminated", reason, 503)

    def _deadline(self) -> float:
        """When to lose patience, with whoever we wait for. Reading `changed` as movement."""
        now = self._loop.time()
        client, server = self._client, self._server
        moved = client.received + server.received - len(client.out) - len(server.out)
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        if not self._is_asked:
            self._sent_at = now
            self._is_asked = self._body.is_complete and not server.out
        if self._response is None and self._is_asked:
            deadline = self._sent_at + self._response_patience
            if client.eof and self._exchange.is_handshake:
                deadline = min(deadline, self._moved_at + CLIENT_GONE_S)
            return deadline
        return self._moved_at + self._idle_patience

    @property
    def _response_patience(self) -> float:
        route = self._route
        return route.handshake_seconds if self._exchange.is_handshake else route.response_seconds

    @property
    def _idle_patience(self) -> float:
        limits = self._sidecar.settings.limits
        if self._client.out or self._server.out:
            return limits.stall_seconds
        return limits.body_idle_seconds if self._response is None else self._route.response_seconds

    def _check_patience(self) -> None:
        if self._loop.time() < self._deadline():
            return
        if self._response is None and self._is_asked:
            if self._client.eof and self._exchange.is_handshake:
                reason = "the client closed before the upstream answered"
                raise self._failure("client_left", None, reason, None)
            reason = f"the upstream did not answer within {self._response_patience:g} s"
            raise self._failure("timeout", "http_response_timeout", reason, 503)
        if self._client.out:
            raise self._failure("client_left", None, "the client stopped reading", None)
        if self._response is None and not self._server.out:
            reason = "the request body stopped half-way"
            raise self._failure("timeout", "http_request_error", reason, 408)
        status = 503 if self._response is None else None
        reason = "the upstream stopped half-way"
        raise self._failure("timeout", "http_response_timeout", reason, status)

    def _not_http(self, reason: str) -> Failed:
        reason = f"the upstream's answer is not HTTP/1.x: {reason}"
        return self._failure("malformed", "http_protocol_error", reason, 503)

    def _failure(
        self, outcome: Outcome, error: str | None, reason: str, status: int | None
    ) -> Failed:
        """An ending. Once a response head has gone out, only closing can tell that it is cut."""
        self._exchange.phases.setdefault("response", (perf_counter() - self._sent) * 1000)
        return Failed(outcome, error, reason, None if self._has_answered else status)


def _is_persistent(request: RequestHead, response: ResponseHead, body: Body | None) -> bool:
    """Whether the client connection outlives the exchange (RFC 9112 section 9.3).

    The heads pass unchanged, so both ends have read the same; this reads it as they do.
    """
    if request.has_close or response.has_close:
        return False
    if isinstance(body, CloseBody):
        return False
    if "1.0" in (request.version, response.version):
        return request.has_keep_alive and response.has_keep_alive
    return True


def _explain_answer(start: bytes) -> str:
    if start[:1] in (b"\x15", b"\x16"):
        return "it is a TLS record; the upstream speaks TLS on this port"
    return f"it starts with {start!r}"
