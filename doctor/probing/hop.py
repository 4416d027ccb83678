"""One hop, phase by phase: resolve, connect, tls, request, response, echo, idle, close, media."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter

from doctor.addresses import Target, parse_url
from doctor.evidence import (
    Arrival,
    Echo,
    Exchange,
    Hop,
    Phase,
    PhaseName,
    Probe,
    Silence,
    Soak,
    Tls,
    Untried,
    What,
)
from doctor.probing.asking import Asked, ask
from doctor.probing.battery import Battery, Close, close_by_client, close_by_server
from doctor.probing.dial import Flaw, Line, Lost, address_class, is_name, reach, resolve
from doctor.probing.endurance import soak, stay_silent
from doctor.probing.plan import Plan, with_probe
from doctor.probing.recognising import answers_http2, speaks_tls
from doctor.probing.sidecar import Unavailable
from doctor.probing.stream import ProbeStream
from doctor.probing.switching import has_switched, is_refusal, watch
from doctor.probing.tls import shake
from proxy.http1 import Fields

PROXY_UNKNOWN = b"PROXY UNKNOWN\r\n"  # for a sidecar that wants to be told who calls


class HopProbe:
    """The probing of one hop. Every step may be called, whatever came of those before."""

    def __init__(self, hop: Hop, plan: Plan, *, is_behind: bool, notes: Sequence[str] = ()) -> None:
        self.hop = hop
        self._plan = plan
        self._options = plan.options
        self._is_behind = is_behind  # the sidecar is in front of it, and cannot echo for it
        self._target = parse_url(hop.url)
        self._line: Line | None = None
        self._phases: list[Phase] = []
        self._notes = list(notes)
        self._addresses: tuple[str, ...] = ()
        self._tls: Tls | None = None
        self._exchanges: dict[str, Exchange] = {}
        self._ids: dict[str, str] = {}
        self._armed: set[str] = set()
        self._untried: dict[PhaseName, str] = {}
        self._why_no_stream = plan.why_no_admin
        self._stream: ProbeStream | None = None
        self._idle: ProbeStream | None = None
        self._echoes: list[Echo] = []
        self._silence: Silence | None = None
        self._soak: Soak | None = None

    @property
    def can_echo(self) -> bool:
        return self._stream is not None

    # -- resolve, connect, tls ---------------------------------------------------------------

    async def reach(self) -> None:
        options = self._options
        began = perf_counter()
        try:
            places = await resolve(self._dialled, options.resolve, options.connect_s)
        except Lost as lost:
            self._add("resolve", began, lost.fault, lost.detail)
            return
        self._addresses = tuple(place.host for place in places)
        classes = ", ".join(f"{place.host} ({address_class(place.host)})" for place in places)
        self._add("resolve", began, "", classes)
        began = perf_counter()
        try:
            place, failed = await reach(places, options.connect_s)
        except Lost as lost:
            self._add("connect", began, lost.fault, lost.detail)
            return
        self._add("connect", began, "", str(place))
        self._notes += [f"not every address answers: {lost.detail}" for lost in failed]
        line = Line(place, None, self._server_name, options.connect_s)
        if self.hop.kind == "sidecar" and self._plan.wants_proxy_header:
            line.preface = PROXY_UNKNOWN
        if not self._target.is_secure or await self._shake(line):
            self._line = line

    @property
    def _dialled(self) -> Target:
        """The hop's target, or what the public name's connections are to be made to."""
        other = self._options.connect_to
        if other is None or self._target.authority != self._plan.host:
            return self._target
        return replace(self._target, address=other)

    @property
    def _server_name(self) -> str:
        """Whom the certificate must name: the hop, or the public name where it has none."""
        host = self._target.address.host
        if is_name(host) or self._plan.host is None:
            return host
        return self._plan.host.partition(":")[0]

    async def _shake(self, line: Line) -> bool:
        assert self._plan.trust is not None  # noqa: S101 - there is, where a hop speaks TLS
        began = perf_counter()
        seen = await shake(line, self._plan.trust)
        self._tls = seen.tls
        self._notes += seen.notes
        self._add("tls", began, seen.fault or "", seen.detail)
        line.tls = seen.context
        return seen.context is not None

    # -- requests ----------------------------------------------------------------------------

    async def ask(self) -> None:
        """The plain GET, the upgrade, and the webhook's path, side by side."""
        if self._line is None:
            return
        plan, target = self._plan, self._target
        stream, webhook = plan.stream_path(self.hop), plan.webhook_path(self.hop)
        requests: list[tuple[What, str, Fields]] = [
            ("plain", stream, plan.plain_fields(target, "application/json")),
            ("upgrade", stream, plan.upgrade_fields(target)),
            ("webhook", webhook, plan.plain_fields(target, "*/*")),
        ]
        asked = await asyncio.gather(
            *(self._ask(what, what, path, fields) for what, path, fields in requests)
        )
        upgrade, is_refused = asked[1], await self._is_refused_by_echo(asked[1])
        if not is_refused:
            await self._receive_upgrade("upgrade", upgrade)
        if self._stream is not None:
            self._drop(await self._ask("upgrade", "offer", stream, self._upgrade(offers=True)))
        if self._stream is not None or is_refused:
            through = await self._ask("upgrade", "through", stream, self._upgrade(), echo=False)
            await self._receive_upgrade("through", through)

    async def _is_refused_by_echo(self, asked: Asked) -> bool:
        """Whether the sidecar's echo minds how the upgrade came, which the gateway may not."""
        arrivals = await self._arrivals("upgrade")
        if not asked.exchange.fault or not arrivals or not arrivals[0].was_echoed:
            return False
        if arrivals[0].status in (None, 101):
            return False
        self._notes.append(f"the sidecar's echo refused this upgrade with {arrivals[0].status}")
        return True

    def _upgrade(self, *, offers: bool = False) -> Fields:
        return self._plan.upgrade_fields(self._target, offers=offers)

    async def _ask(
        self, what: What, name: str, path: str, fields: Fields, *, echo: bool = True
    ) -> Asked:
        assert self._line is not None  # noqa: S101 - asked only where there is a line
        probe_id = await self._arm()
        if probe_id is not None:
            self._ids[name] = probe_id
        fields = with_probe(fields, probe_id, echo=echo and what == "upgrade")
        asked = await ask(self._line, what, "GET", path, fields, self._options.answer_s)
        self._exchanges[name] = asked.exchange
        self._leave_armed(probe_id, asked.exchange)
        return asked

    def _drop(self, asked: Asked) -> None:
        if asked.switched is not None:
            asked.switched.abort()

    async def _arm(self) -> str | None:
        if self._plan.admin is None or self._is_behind:
            return None
        try:
            probe_id = await self._plan.admin.arm()
        except Unavailable as error:
            self._why_no_stream = f"no probe could be armed: {error}"
            self._notes.append(self._why_no_stream)
            return None
        self._armed.add(probe_id)
        return probe_id

    def _leave_armed(self, probe_id: str | None, exchange: Exchange) -> None:
        """What may still be on its way must not reach the gateway as if it were a call."""
        if probe_id is not None and exchange.fault == "timeout":
            self._armed.discard(probe_id)

    async def disarm(self) -> None:
        """Give the places of all ids back, whose arrivals are known by now."""
        with suppress(Unavailable):  # then they expire
            while self._armed and self._plan.admin is not None:
                await self._plan.admin.disarm(self._armed.pop())

    async def _arrivals(self, name: str) -> tuple[Arrival, ...] | None:
        if self._plan.admin is None or name not in self._ids:
            return None
        try:
            return await self._plan.admin.arrivals(self._ids[name])
        except Unavailable as error:
            self._notes.append(f"what arrived could not be fetched: {error}")
            return None

    async def _receive_upgrade(self, name: str, asked: Asked) -> None:
        """Judge what an upgrade came to, and keep its stream if it is one to echo on."""
        exchange = replace(asked.exchange, arrivals=await self._arrivals(name))
        fault, detail = exchange.fault, asked.detail
        if fault in ("eof", "reset") and name == "upgrade":
            fault, detail = await self._recognise(exchange, fault, detail)
        if fault == "not_upgraded" and is_refusal(self.hop, exchange):
            signed = "signed" if self._options.auth_token else "unsigned"
            self._notes.append(f"the gateway refused the {signed} upgrade: {detail}")
            fault, detail = "", f"refused: {detail}"
        if fault and name == "through":
            detail = f"through to the gateway: {detail}"
        self._add_switch(exchange, fault, detail)
        if asked.switched is None:
            return
        stream = ProbeStream(asked.switched)
        if exchange.arrival is not None and exchange.arrival.was_echoed:
            self._stream = stream
        else:
            began = perf_counter()
            fault, note = await watch(stream)
            self._notes += [note] if note and not fault else []
            if fault:
                self._add("echo", began, fault, note)

    async def _recognise(self, exchange: Exchange, fault: Flaw, detail: str) -> tuple[Flaw, str]:
        """Look again at a port that hung up without a word."""
        if self._line is None or exchange.first_bytes or exchange.arrivals:
            return fault, detail
        tls = None
        if not self._target.is_secure:
            self._tls = await speaks_tls(self._line)
            if self._tls is not None:
                return fault, f"{detail} (the port speaks TLS)"
        elif self._plan.trust is not None and self._tls is not None:
            if self._tls.alpn:
                return fault, detail  # it agreed to speak HTTP/1.1
            tls = self._plan.trust.offering
        authority, path = self._plan.authority(self._target), self._plan.stream_path(self.hop)
        if await answers_http2(self._line, authority, path, tls):
            self._exchanges["upgrade"] = replace(exchange, fault="http2")
            return "http2", "it speaks HTTP/2 and nothing else"
        return fault, detail

    def _add_switch(self, exchange: Exchange, fault: Flaw, detail: str) -> None:
        """The two phases of a request: the way in, and the way back. One ends both."""
        if fault and not has_switched(exchange):
            self._put(Phase("request", exchange.ms, fault, detail))
            return
        self._put(Phase("request", exchange.ms))
        self._put(Phase("response", exchange.ms, fault, detail))

    # -- the stream --------------------------------------------------------------------------

    async def open_stream(self) -> ProbeStream | None:
        """Another echoing stream of this hop, None where none is given."""
        probe_id = await self._arm()
        if self._line is None or probe_id is None:
            return None
        fields = with_probe(self._upgrade(), probe_id, echo=True)
        path, answer_s = self._plan.stream_path(self.hop), self._options.answer_s
        asked = await ask(self._line, "upgrade", "GET", path, fields, answer_s)
        self._leave_armed(probe_id, asked.exchange)
        if asked.switched is None:
            self._why_no_stream = f"no further stream was opened: {asked.detail}"
            return None
        return ProbeStream(asked.switched)

    async def echo(self) -> None:
        """Messages over the stream that is open, and closes over others."""
        if self._stream is None:
            self._note_untried("echo")
            return
        began = perf_counter()
        # The one that is open grew old while requests were made: a hop may end it for that.
        if (young := await self.open_stream()) is not None:
            self._stream.abort()
            self._stream = young
        battery = Battery(self._stream, self.open_stream, self._options.echo_s)
        await battery.run()
        battery.abandon()
        self._add_worst("echo", began, battery.echoes)
        began = perf_counter()
        closes = await asyncio.gather(
            self._close(close_by_client, 1000, ""),
            self._close(close_by_client, 4000, "probe"),
            self._close(close_by_server, 4001, "probe"),
        )
        self._add_worst("close", began, [echo for echo in closes if echo is not None])

    async def _close(self, way: Close, code: int, reason: str) -> Echo | None:
        """The end came without the Close: once may be because the hop found the stream too old."""
        seen: Echo | None = None
        while (stream := await self.open_stream()) is not None:
            is_again = seen is not None
            seen = await way(stream, code, reason, self._options.echo_s)
            if seen.fault != "close_lost" or is_again:
                break
        return seen

    def _add_worst(self, name: PhaseName, began: float, echoes: list[Echo]) -> None:
        self._echoes += echoes
        bad = next((echo for echo in echoes if echo.fault and echo.aged_s is None), None)
        self._add(name, began, bad.fault if bad else "", f"{bad.name}: {bad.saw}" if bad else "")

    def _tell_of_age(self) -> None:
        """A stream that was cut for its age counts here where no silent one shows it better."""
        aged = next((echo for echo in self._echoes if echo.aged_s is not None), None)
        if aged is None or (self._silence is not None and self._silence.died_after_s is not None):
            return
        detail = f"{aged.name}: {aged.saw}, at an age of {aged.aged_s:.1f} s"
        self._put(Phase("echo", aged.ms, "cut", detail))

    async def open_idle(self) -> None:
        """Open the stream that is to be left silent."""
        if self._options.idle_s:
            self._idle = await self.open_stream() if self._stream is not None else None
            if self._idle is None:
                self._note_untried("idle")

    async def stay_silent(self) -> None:
        """Leave it idle for as long as the options say."""
        stream, seconds = self._idle, self._options.idle_s
        if stream is None:
            return
        began = perf_counter()
        self._silence = await stay_silent(stream, seconds, self._options.echo_s)
        died = self._silence.died_after_s
        detail = "" if died is None else f"after {died:g} s: {self._silence.how}"
        self._add("idle", began, "" if died is None else "cut", detail)

    async def soak(self) -> None:
        """Send media for as long as the options say."""
        seconds = self._options.soak_s
        if not seconds:
            return
        if self._stream is None or (stream := await self.open_stream()) is None:
            self._note_untried("media")
            return
        began = perf_counter()
        seen = self._soak = await soak(stream, seconds, self._options.echo_s)
        detail = f"{seen.received} of {seen.sent} came back, worst gap {seen.worst_gap_ms:.0f} ms"
        self._add("media", began, seen.fault, detail)

    def _note_untried(self, phase: PhaseName) -> None:
        """Why a phase is missing at a hop that took the upgrade and could echo."""
        is_taken = bool(self._phases) and not any(each.fault for each in self._phases)
        if is_taken and not self._is_behind:
            self._untried[phase] = self._why_no_stream or "the sidecar did not echo the upgrade"

    # -- the record --------------------------------------------------------------------------

    async def finish(self) -> Probe:
        """Everything that was seen, with what arrived at the sidecar."""
        self._tell_of_age()
        found = {
            name: replace(exchange, arrivals=await self._arrivals(name))
            for name, exchange in self._exchanges.items()
        }
        await self.disarm()
        return Probe(
            self.hop,
            tuple(self._phases),
            self._addresses,
            self._tls,
            plain=found.get("plain"),
            upgrade=found.get("upgrade"),
            webhook=found.get("webhook"),
            offer=found.get("offer"),
            through=found.get("through"),
            echoes=tuple(self._echoes),
            silence=self._silence,
            soak=self._soak,
            notes=tuple(dict.fromkeys(self._notes)),
            untried=tuple(Untried(phase, why) for phase, why in self._untried.items()),
        )

    def _add(self, name: PhaseName, began: float, fault: Flaw, detail: str) -> None:
        self._put(Phase(name, (perf_counter() - began) * 1000, fault, detail))

    def _put(self, phase: Phase) -> None:
        """One phase of each name: a second look at it counts only where it went wrong."""
        before = next((each for each in self._phases if each.name == phase.name), None)
        if before is None:
            self._phases.append(phase)
        elif phase.fault and not before.fault:
            self._phases[self._phases.index(before)] = phase
