"""One client connection: requests in, responses out, until it closes or becomes a session.

    head in -> route -> dial -> head out -> bodies both ways      once a request
                                    |
                                    `-- 101 --> the relay takes both sockets

Each request gets an upstream connection of its own. A kept-alive one may be closed by the gateway
in the moment it is used, and a webhook POST must not be sent twice, so it would be lost.
"""

import asyncio
import json
import re
import time
from time import perf_counter
from typing import TYPE_CHECKING

from proxy import twiml
from proxy.body import Body, BodyCopy, LengthBody, request_body
from proxy.clients import client_address, client_of, is_trusted
from proxy.exchange import Exchange, Outcome, call_sid_in, new_id
from proxy.handshake import is_handshake, wants_upgrade
from proxy.http1 import Malformed, RequestHead, head_end, parse_request_head
from proxy.ingress import tell_ingress
from proxy.preface import explain_stranger, is_undecided, read_proxied
from proxy.promises import Arrival
from proxy.routes import Route, find_route, split_target
from proxy.transfer import Failed, Transfer
from proxy.upstream import DialError, dial
from proxy.wire import Wire, changed, read_limit

if TYPE_CHECKING:
    from proxy.server import Sidecar

# How long a chunked request waits for its first chunk size before its head is passed on: a
# request whose first chunk is malformed then never reaches the upstream.
FIRST_CHUNK_S = 0.2
# How long a peer may take to read our last answer before the connection is closed.
LINGER_S = 2.0
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_PHRASES = {
    400: "Bad Request",
    404: "Not Found",
    408: "Request Timeout",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


class Connection:
    """Serves one accepted socket. `peer` is its address ("" on a unix socket)."""

    def __init__(self, sidecar: "Sidecar", client: Wire, peer: str) -> None:
        self.sidecar = sidecar
        self.client = client
        self.peer = peer
        self.is_idle = True  # between requests
        self._is_stopped = False
        self._place: str | None = None  # the client that this connection counts for
        self._served = 0  # requests so far
        self._loop = asyncio.get_running_loop()

    async def serve(self) -> None:
        """Serve requests until the connection closes or is handed to the relay."""
        try:
            while await self._serve_one():
                self._served += 1
        except OSError as error:
            self.sidecar.telemetry.say("connection_failed", client=self.peer, reason=str(error))
        finally:
            self.client.close()
            self._leave()
            self.sidecar.forget(self)

    def stop(self) -> None:
        """The sidecar drains: an idle connection is closed, a busy one after its response."""
        self._is_stopped = True
        if self.is_idle:
            self.client.interrupt()

    def give_place(self) -> str | None:
        """Hand over the client that this connection counts for, to be freed elsewhere."""
        place, self._place = self._place, None
        return place

    def _leave(self) -> None:
        if (place := self.give_place()) is not None:
            self.sidecar.occupancy.leave(place)

    # -- one request -------------------------------------------------------------------------

    async def _serve_one(self) -> bool:
        """Serve the next request; False when the connection is over or no longer ours."""
        exchange = Exchange(new_id(time.time()), time.time(), self.peer, self.peer)
        started = perf_counter()
        try:
            head = await self._read_head(exchange)
            if head is None:
                return False
            self.is_idle = False
            started = perf_counter() - exchange.phases["head"] / 1000
            return await self._exchange(exchange, head, started)
        except Malformed as malformed:
            exchange.fail("malformed", "http_request_error", malformed.reason, 400)
            answer = True
        except Failed as failed:
            exchange.fail(failed.outcome, failed.error, failed.reason, failed.status)
            answer = failed.status is not None
        exchange.phases["total"] = (perf_counter() - started) * 1000
        self.sidecar.telemetry.exchange_ended(exchange)
        if answer:
            self.client.send(self._own_response(exchange))
        await self.client.close_gently(LINGER_S)
        return False

    async def _read_head(self, exchange: Exchange) -> RequestHead | None:
        """The next request head, or None when the client closed (or may no longer wait)."""
        limits = self.sidecar.settings.limits
        client = self.client
        patience = limits.head_seconds if not self._served else limits.keep_alive_seconds
        deadline = self._loop.time() + patience
        # Before its first byte: connections that say nothing take places, too.
        if not self._served and not self.sidecar.settings.proxy_protocol:
            self._enter_by_address()
        while not client.buffer:
            if client.eof or client.is_gone or self._is_stopped:
                return None
            if not await changed(deadline, client):
                return None
        exchange.at = time.time()
        began = perf_counter()
        deadline = self._loop.time() + limits.head_seconds
        if not self._served and not await self._read_preface(exchange, deadline):
            return None
        while True:
            self._skip_empty_lines()
            exchange.raw = bytes(client.buffer[: limits.head_bytes])
            end = head_end(client.buffer)
            if end > limits.head_bytes or (not end and len(client.buffer) >= limits.head_bytes):
                raise Malformed(f"the head is longer than {limits.head_bytes} bytes")
            if end:
                head = parse_request_head(client.take(end))
                exchange.phases["head"] = (perf_counter() - began) * 1000
                return head
            if client.eof or client.is_gone:
                if not client.buffer:
                    return None
                raise Failed("client_left", None, "the client closed within the head", None)
            # A flood of empty lines always has news, and no deadline would ever come first.
            if self._loop.time() >= deadline or not await changed(deadline, client):
                reason = f"the head was not complete after {limits.head_seconds:g} s"
                raise Failed("timeout", "http_request_error", reason, 408)

    def _skip_empty_lines(self) -> None:
        """RFC 9112 section 2.2: an empty line before the request line is ignored."""
        if found := _EMPTY_LINES.match(self.client.buffer):
            self.client.take(found.end())

    async def _read_preface(self, exchange: Exchange, deadline: float) -> bool:
        """Take a PROXY header where one is due; refuse what is not HTTP. False: nothing came."""
        client = self.client
        if self.sidecar.settings.proxy_protocol:
            while (proxied := read_proxied(client.buffer)) is None:
                exchange.raw = bytes(client.buffer)
                if client.eof or client.is_gone or not await changed(deadline, client):
                    raise Malformed("the PROXY header is incomplete")
            client.take(proxied.length)
            exchange.peer = exchange.client = self.peer = proxied.client or self.peer
            self._enter_by_address()
            while not client.buffer:
                if client.eof or client.is_gone or not await changed(deadline, client):
                    return False
        # Wait for as many bytes as it takes to tell a stranger from a request.
        while not (client.eof or client.is_gone):
            exchange.raw = bytes(client.buffer)
            if (reason := explain_stranger(client.buffer)) is not None:
                is_tls = client.buffer[:1] == b"\x16"
                raise Failed("malformed", "http_request_error", reason, None if is_tls else 400)
            if not is_undecided(exchange.raw) or not await changed(deadline, client):
                break
        return True

    def _enter_by_address(self) -> None:
        """Count the connection for its own address, unless it is an ingress that brings many."""
        settings = self.sidecar.settings
        if not is_trusted(self.peer, settings.trusted_proxies):
            self._enter(self.peer)

    def _enter(self, address: str) -> None:
        client = client_of(address)
        occupancy, limit = self.sidecar.occupancy, self.sidecar.settings.limits
        if occupancy.of(client) >= limit.connections_per_client:
            reason = f"{client} holds {occupancy.of(client)} connections (connections_per_client)"
            raise Failed("refused", "connection_limit_reached", reason, 429)
        occupancy.enter(client)
        self._place = client

    # -- routing and dialling ----------------------------------------------------------------

    async def _exchange(self, exchange: Exchange, head: RequestHead, started: float) -> bool:
        sidecar = self.sidecar
        exchange.request, exchange.raw = head, b""
        exchange.request_number = self._served + 1
        forwarded_for = head.values("X-Forwarded-For")
        trusted = sidecar.settings.trusted_proxies
        exchange.client = client_address(self.peer, forwarded_for, trusted)
        exchange.ingress = tell_ingress(head.version, head.fields)
        exchange.call_sid = call_sid_in(head.target)
        body = request_body(head)
        ahead = await self._read_ahead(head, body)
        if self._place is None:
            self._enter(exchange.client)
        route = self._find_route(exchange, head)
        request = route.forwarded_request(head)
        exchange.route, exchange.upstream = route.name, str(route.upstream)
        exchange.forwarded_target = request.target if request.target != head.target else None
        try:
            dialling = perf_counter()
            server = Wire(
                await dial(route.upstream, route.connect_seconds),
                read_limit(sidecar.settings.limits),
            )
        except DialError as error:
            outcome: Outcome = "timeout" if error.outcome == "timeout" else "unreachable"
            raise Failed(outcome, error.error, error.reason) from None
        finally:
            exchange.phases["connect"] = (perf_counter() - dialling) * 1000
        exchange.received_bytes = len(ahead)
        server.send(request.raw + ahead)
        transfer = Transfer(self, exchange, route, body, server, started)
        try:
            is_persistent = await transfer.run()
        finally:
            if not transfer.is_switched:
                server.close()
        if transfer.is_switched:
            return False
        if not sidecar.is_draining and is_persistent:
            if is_trusted(self.peer, trusted):
                self._leave()
            self.is_idle = True
            return True
        await self.client.close_gently(LINGER_S)
        return False

    async def _read_ahead(self, head: RequestHead, body: Body) -> bytes:
        """What already came of the body, judged before anything is passed on. Raises Malformed."""
        if (
            head.method == "POST"
            and "form-urlencoded" in (head.value("Content-Type") or "").lower()
        ):
            body.copy = BodyCopy(twiml.DOCUMENT_LIMIT)
        taken = body.receive_data(self.client.buffer)
        waits = not isinstance(body, LengthBody) and not taken and head.value("Expect") is None
        deadline = self._loop.time() + FIRST_CHUNK_S
        while waits and not taken and await changed(deadline, self.client):
            taken = body.receive_data(self.client.buffer)
            waits = not (self.client.eof or self.client.is_gone)
        return self.client.take(taken)

    def _find_route(self, exchange: Exchange, head: RequestHead) -> Route:
        sidecar = self.sidecar
        asked = sidecar.probes.read(head, time.monotonic())
        if asked is not None:
            exchange.probe_id = asked.id
            sidecar.probes.record(asked.id, exchange)
            if asked.wants_echo and is_handshake(head) and sidecar.echo is not None:
                return Route("probe-echo", sidecar.echo)
        is_promised = (
            asked is None and bool(sidecar.promises) and self._look_for_promise(exchange, head)
        )
        if sidecar.is_draining and wants_upgrade(head) and not is_promised:
            reason = "the sidecar is stopping, and takes no new streams (SIGTERM)"
            raise Failed("refused", "proxy_internal_response", reason, 503)
        route = find_route(sidecar.routes, head)
        if route is None:
            names = ", ".join(route.name for route in sidecar.routes) or "none"
            reason = f"no route matches; the routes are: {names}"
            raise Failed("refused", "destination_not_found", reason, 404)
        return route

    def _look_for_promise(self, exchange: Exchange, head: RequestHead) -> bool:
        """Whether this is a stream that TwiML promised, or what a hop has left of one."""
        arrival = Arrival(
            exchange.id,
            split_target(head.target)[1] or "/",
            time.monotonic(),
            is_upgrade=wants_upgrade(head),
            has_key=is_handshake(head),
            is_signed=bool(head.values("X-Twilio-Signature")),
            call_sid=exchange.call_sid,
        )
        promise = None
        if arrival.is_upgrade:
            promise = self.sidecar.promises.receive_upgrade(arrival)
        elif head.method == "GET" and not head.values("I-Twilio-Idempotency-Token"):
            # With the token it is a webhook, not what is left of an upgrade.
            promise = self.sidecar.promises.receive_request(arrival)
        if promise is not None and exchange.call_sid is None:
            exchange.call_sid = promise.webhook.call_sid
        return promise is not None

    def _own_response(self, exchange: Exchange) -> bytes:
        """A response of the sidecar itself, with the id that the log and `hopscope show` know."""
        status = exchange.status or 503
        content: dict[str, object] = {
            "error": exchange.error,
            "reason": exchange.reason,
            "id": exchange.id,
        }
        if status == 404:
            content["routes"] = [route.name for route in self.sidecar.routes]
        body = json.dumps(content).encode() + b"\n"
        retry = "Retry-After: 5\r\n" if status in (429, 503) else ""
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\n{retry}"
            "Connection: close\r\n"
            f"Proxy-Status: {exchange.stamp}\r\n\r\n"
        )
        is_head = exchange.request is not None and exchange.request.method == "HEAD"
        return head.encode("latin-1") + (b"" if is_head else body)
