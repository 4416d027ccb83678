"""The admin address: metrics, health, and what the sidecar saw, as JSON and as live events.

On loopback it is open to the machine's users, but only under loopback names: a web page that
makes its own name resolve to 127.0.0.1 (DNS rebinding) is refused by its Host. Anywhere else it
asks for the bearer token HOPSCOPE_ADMIN_TOKEN. The page itself holds nothing, so that a browser may
have it without the token, and it asks for the token then.
"""

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import chain
from time import perf_counter
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from proxy.capture import json_chunks
from proxy.exchange import call_sid_in, iso
from proxy.frames import GAP_BOUNDS
from proxy.history import CALL, Query
from proxy.http1 import RequestHead
from proxy.live_page import INDEX, LivePage
from proxy.probes import HEADER, LIFETIME_S
from proxy.routes import find_route
from proxy.server import Sidecar
from proxy.session import Session
from proxy.settings import HostPort
from proxy.telemetry import as_server_sent_event

PAGE_LIMIT = 500
# Comments that keep a silent event stream from being closed by whatever is in between.
HEARTBEAT_S = 15.0
LISTENER_STALL_S = 10.0
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_NOT_ARMED = "no probe of this id is armed; POST /api/probes arms one\n"
BODY_LIMIT = 16 << 10
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Explain = Callable[[Mapping[str, Any]], Mapping[str, str] | None]
# Takes the public URL, if one was named; None while another examination runs.
Examine = Callable[[str | None], Awaitable[Mapping[str, Any] | None]]


class Admin:
    """The HTTP side of one sidecar.

    `collectors` are printed by /metrics: the sidecar's, and those that others in the same process
    add. Their names must differ (of the process itself, only one may tell).

    What the sidecar can't know itself is set from outside: `explain` has the page of a rule for a
    handshake's row, {rule, slug, defect, why, fix}, and `examine` is the doctor.
    """

    def __init__(self, sidecar: Sidecar, token: str | None) -> None:
        self._sidecar = sidecar
        self._token = token
        self.collectors: list[CollectorRegistry] = [sidecar.metrics.registry]
        self.explain: Explain = lambda _row: None
        self.examine: Examine | None = None
        self._page_files = LivePage()
        self._address = HostPort("127.0.0.1", 0)
        self._runner: web.AppRunner | None = None

    async def start(self, address: HostPort) -> HostPort:
        """Serve; the address with the port that was given out. Raises OSError or ValueError."""
        if not address.is_loopback and self._token is None:
            raise ValueError(
                f"admin = {str(address)!r}: set HOPSCOPE_ADMIN_TOKEN to listen beyond loopback"
            )
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/page/{name}", self._page_file),
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/api/handshakes", self._handshakes),
                web.get("/api/handshakes/{id}", self._handshake),
                web.get("/api/calls", self._calls),
                web.get("/api/calls/{id}", self._call),
                web.get("/api/route", self._route),
                web.get("/api/sessions", self._sessions),
                web.get("/api/captures", self._captures),
                web.get("/api/captures/{id}", self._capture),
                web.post("/api/captures/{id}", self._begin_capture),
                web.get("/api/events", self._events),
                web.post("/api/probes", self._arm_probe),
                web.delete("/api/probes/{probe_id}", self._disarm_probe),
                web.get("/api/arrivals/{probe_id}", self._arrivals),
                web.post("/api/examinations", self._examinations),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address.host, address.port)
        await site.start()
        self._address = HostPort(*self._runner.addresses[0][:2])
        return self._address

    @property
    def url(self) -> str:
        """Where this machine finds it, once it has started."""
        host, port = self._address
        own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return f"http://{HostPort(own, port)}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._is_of_page(request) and (self._token or _is_loopback_name(request.host)):
            return await handler(request)
        if self._token is not None:
            given = request.headers.get("Authorization", "")
            # aiohttp hands over bytes that are no UTF-8 as surrogates.
            given_bytes = given.encode(errors="surrogateescape")
            if not hmac.compare_digest(given_bytes, f"Bearer {self._token}".encode()):
                raise web.HTTPUnauthorized(
                    headers={"WWW-Authenticate": "Bearer"} | _SECURITY_HEADERS,
                    text="this address wants the bearer token HOPSCOPE_ADMIN_TOKEN\n",
                )
        elif not _is_loopback_name(request.host):
            raise web.HTTPForbidden(
                headers=_SECURITY_HEADERS, text="this address answers under loopback names only\n"
            )
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            # Another page of the same browser: it could arm probes and take the listeners' places.
            raise web.HTTPForbidden(
                headers=_SECURITY_HEADERS, text="this address does not answer other sites' pages\n"
            )
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_SECURITY_HEADERS)
        return response

    def _is_of_page(self, request: web.Request) -> bool:
        """Whether this asks for a file of the page, which anybody may have."""
        if request.method not in ("GET", "HEAD"):
            return False
        wants_page = request.path == "/" and "text/html" in request.headers.get("Accept", "")
        return wants_page or request.path.startswith("/page/")

    async def _page_file(self, request: web.Request) -> web.Response:
        return self._page_files.response(request.match_info["name"])

    async def _index(self, request: web.Request) -> web.Response:
        """The page for browsers; for machines what runs here."""
        if self._is_of_page(request):
            return self._page_files.response(INDEX)
        sidecar = self._sidecar
        return web.json_response(
            {
                "hopscope": "proxy",
                "listen": str(sidecar.address) if sidecar.address else None,
                "proxy_protocol": sidecar.settings.proxy_protocol,
                "is_draining": sidecar.is_draining,
                "sessions": len(sidecar.relay.pairs),
                "can_examine": self.examine is not None,
                "routes": [
                    {"name": route.name, "upstream": str(route.upstream)}
                    for route in sidecar.routes
                ],
                "see": [
                    *("/metrics", "/readyz", "/api/handshakes", "/api/calls"),
                    *("/api/sessions", "/api/events"),
                ],
            }
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        # The classic text format: OpenMetrics has no room for a counter and a histogram of one
        # name, and frame_payload_bytes is both.
        text = b"".join(generate_latest(registry) for registry in self.collectors)
        return web.Response(
            body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self._sidecar.is_draining:
            return web.json_response({"status": "draining"}, status=503)
        return web.json_response({"status": "ready"})

    async def _handshakes(self, request: web.Request) -> web.Response:
        kind = request.query.get("kind", "handshake")
        return await self._page(request, "handshakes", None if kind == "all" else kind)

    async def _calls(self, request: web.Request) -> web.Response:
        return await self._page(request, "calls", CALL)

    async def _page(self, request: web.Request, name: str, kind: str | None) -> web.Response:
        values = request.query
        try:
            limit = min(max(int(values.get("limit", "50")), 1), PAGE_LIMIT)
        except ValueError:
            raise web.HTTPBadRequest(text="limit should be a number\n") from None
        query = Query(
            kind=kind,
            limit=limit,
            before=values.get("before"),
            ingress=values.get("ingress"),
            outcome=values.get("outcome"),
            call_sid=values.get("call_sid"),
        )
        rows = await self._sidecar.history.find(query)
        following = rows[-1]["id"] if len(rows) == limit else None
        return web.json_response({name: rows, "next": following})

    async def _handshake(self, request: web.Request) -> web.Response:
        row = await self._sidecar.history.get(request.match_info["id"])
        if row is None:
            raise web.HTTPNotFound(text="no handshake of this id is in the history\n")
        self._add_running_session(row)
        explanation = self.explain(row) if row["kind"] == "handshake" else None
        return web.json_response(row | {"explanation": explanation})

    async def _call(self, request: web.Request) -> web.Response:
        row = await self._sidecar.history.get(request.match_info["id"])
        if row is None or row["kind"] != CALL:
            raise web.HTTPNotFound(text="no phone call of this id or CallSid is in the history\n")
        for handshake in row["handshakes"]:
            self._add_running_session(handshake)
        return web.json_response(row)

    def _add_running_session(self, row: dict[str, Any]) -> None:
        """The session of a row that is still running, as far as it has come."""
        running = self._sidecar.relay.pairs.get(row["id"])
        if running is not None and row.get("session") is None:
            row["session"] = running.session.line(perf_counter())

    async def _route(self, request: web.Request) -> web.Response:
        """Where a request for `target` under `host` would go, and what it would ask for there."""
        fields = (("Host", request.query.get("host", "")),)
        head = RequestHead(b"", "1.1", fields, "GET", request.query.get("target", "/"))
        route = find_route(self._sidecar.routes, head)
        if route is None:
            raise web.HTTPNotFound(text="no route takes this target\n")
        told = {"route": route.name, "upstream": str(route.upstream)}
        return web.json_response(told | {"target": route.rewritten(head.target)})

    async def _sessions(self, _request: web.Request) -> web.Response:
        now = perf_counter()
        epoch = time.time() - now
        return web.json_response(
            {
                "gap_bounds_s": GAP_BOUNDS,
                "sessions": [
                    _running_line(pair.session, now, epoch)
                    for pair in self._sidecar.relay.pairs.values()
                ],
            }
        )

    async def _captures(self, _request: web.Request) -> web.Response:
        return web.json_response({"captures": self._sidecar.captures.lines()})

    async def _begin_capture(self, request: web.Request) -> web.Response:
        """Keep what passes over a running session from now on. The id may be a CallSid."""
        name, pairs = request.match_info["id"], self._sidecar.relay.pairs
        ids = [key for key, pair in pairs.items() if name in (key, pair.session.media.call_sid)]
        if not ids:
            raise web.HTTPNotFound(
                text="no session of this id or CallSid runs; the live page lists those that do\n"
            )
        if self._sidecar.relay.capture(ids[-1], self._sidecar.captures) is None:
            raise web.HTTPConflict(text="its frames can't be followed at this moment; try again\n")
        return web.json_response({"id": ids[-1]}, status=201)

    async def _capture(self, request: web.Request) -> web.StreamResponse:
        """The handshake and the frames of a captured session, as lines of JSON."""
        session_id = await self._stream_id(request.match_info["id"])
        capture = self._sidecar.captures.get(session_id)
        row = await self._sidecar.history.get(session_id)
        if capture is None or row is None:
            raise web.HTTPNotFound(text="nothing is kept of this id; /api/captures lists what is\n")
        self._add_running_session(row)
        response = web.StreamResponse(
            headers={"Content-Type": "application/jsonl"} | _SECURITY_HEADERS
        )
        await response.prepare(request)
        head = {"hopscope": "capture", "handshake": row, "dropped": capture.dropped}
        lines = chain([head], capture.lines())
        with suppress(ConnectionResetError):  # who asked has left
            for some in json_chunks(lines):
                try:
                    async with asyncio.timeout(LISTENER_STALL_S):
                        await response.write(some)
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    break
                await asyncio.sleep(0)  # frames of calls wait meanwhile
        return response

    async def _stream_id(self, name: str) -> str:
        """The id of a call's newest handshake where `name` is a CallSid, else `name`."""
        if call_sid_in(name) != name:
            return name
        for session_id, pair in self._sidecar.relay.pairs.items():
            if pair.session.media.call_sid == name:
                return session_id
        rows = await self._sidecar.history.find(Query("handshake", 1, call_sid=name))
        return str(rows[0]["id"]) if rows else name

    async def _events(self, request: web.Request) -> web.StreamResponse:
        telemetry = self._sidecar.telemetry
        if not telemetry.has_room_to_listen:
            raise web.HTTPServiceUnavailable(text="too many listeners\n")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream"} | _SECURITY_HEADERS
        )
        await response.prepare(request)
        with telemetry.listen() as queue:
            while not self._sidecar.is_closed:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        event, fields = await queue.get()
                    text = as_server_sent_event(event, fields)
                except TimeoutError:
                    text = b":\n\n"
                try:
                    async with asyncio.timeout(LISTENER_STALL_S):
                        await response.write(text)
                except ConnectionResetError:
                    break  # the listener has left, which is how listening ends
                except TimeoutError:
                    # A listener that stopped reading, a suspended tap say, keeps no place.
                    if request.transport is not None:
                        request.transport.abort()
                    break
        return response

    async def _arm_probe(self, _request: web.Request) -> web.Response:
        probe_id = self._sidecar.probes.arm(time.monotonic())
        if probe_id is None:
            raise web.HTTPTooManyRequests(text="too many probes are armed; they expire\n")
        return web.json_response(
            {"id": probe_id, "header": HEADER, "expires_in_s": LIFETIME_S}, status=201
        )

    async def _disarm_probe(self, request: web.Request) -> web.Response:
        if not self._sidecar.probes.disarm(request.match_info["probe_id"]):
            raise web.HTTPNotFound(text=_NOT_ARMED)
        return web.Response(status=204)

    async def _arrivals(self, request: web.Request) -> web.Response:
        probe_id = request.match_info["probe_id"]
        arrivals = self._sidecar.probes.arrivals(probe_id, time.monotonic())
        if arrivals is None:
            raise web.HTTPNotFound(text=_NOT_ARMED)
        return web.json_response({"probe_id": probe_id, "arrivals": arrivals})

    async def _examinations(self, request: web.Request) -> web.Response:
        """Run the doctor once. The body is a JSON object, with `public_url` or without."""
        if self.examine is None:
            raise web.HTTPNotFound(text="run `hopscope doctor`: it is not part of this process\n")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="Content-Type should be application/json\n")
        try:
            asked = await request.json()
            public_url = asked.get("public_url") if isinstance(asked, dict) else None
        except ValueError:
            raise web.HTTPBadRequest(text="the body should be a JSON object\n") from None
        if not isinstance(public_url, str | None):
            raise web.HTTPBadRequest(text="public_url should be a string\n")
        told = await self.examine(public_url)
        if told is None:
            raise web.HTTPConflict(text="an examination runs already\n")
        return web.json_response(told)


def _running_line(session: Session, now: float, epoch: float) -> dict[str, object]:
    """A running session, with what only a live view wants: counts whose growth is the news."""
    line: dict[str, object] = {"started_at": iso(epoch + session.started_at)} | session.line(now)
    readers = session.readers
    line["silence_s"] = {sender: round(now - readers[sender].last, 4) for sender in readers}
    line["gap_buckets"] = {sender: list(readers[sender].gaps) for sender in readers}
    if session.media.is_twilio and session.media.is_read:
        line["buffered_s"] = round(session.media.buffered_s(now), 3)
    return line


def _is_loopback_name(host: str) -> bool:
    """Whether a Host value, with or without a port, names this machine to itself."""
    name = re.sub(r":[0-9]*$", "", host).strip("[]").lower()
    return HostPort(name, 0).is_loopback
