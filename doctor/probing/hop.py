"""One hop, phase by phase: resolve, connect, tls, request, response, echo, idle, close, media."""

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter

from websockets.utils import generate_key

from doctor.addresses import parse_url
from doctor.evidence import Arrival, Echo, Exchange, Hop, Phase, PhaseName, Probe, Tls, What
from doctor.probing.asking import Asked, ask
from doctor.probing.battery import Battery, Close, close_by_client, close_by_server
from doctor.probing.dial import Flaw, Line, Lost, address_class, is_name, reach, resolve
from doctor.probing.options import ProbeOptions
from doctor.probing.sidecar import AdminAddress, Unavailable
from doctor.probing.stream import Ended, ProbeStream
from doctor.probing.tls import BOTH, CERTIFICATE_FAULTS, HTTP1, context_for, look
from doctor.signing import Signer
from doctor.websocket import USER_AGENT, upgrade_fields
from proxy.http1 import Fields
from proxy.probes import HEADER

# How long a stream that is not ours to echo on is watched for a word of its gateway.
WATCH_S = 0.3
# A gateway that was not called by Twilio may refuse: by these answers, or by these closes.
REFUSALS = (401, 403)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all hops of a chain share. `host` is the Host that callers send, if it is known."""

    options: ProbeOptions
    host: str | None
    admin: AdminAddress | None
    is_secure: bool = True  # whether callers come by https


class HopProbe:
    """The probing of one hop, step by step; every step may be called, whatever came before."""

    def __init__(self, hop: Hop, plan: Plan, *, is_behind: bool, why_not: str) -> None:
        self.hop = hop
        self._plan = plan
        self._options = plan.options
        self._is_behind = is_behind
        self._target = parse_url(hop.url)
        self._line: Line | None = None
        self._phases: list[Phase] = []
        self._notes: list[str] = [why_not] if why_not else []
        self._addresses: tuple[str, ...] = ()
        self._tls: Tls | None = None
        self._asked: dict[What, Asked] = {}
        self._ids: dict[str, str] = {}
        self._stream: ProbeStream | None = None
        self._echoes: list[Echo] = []

    @property
    def echoes_wanted(self) -> bool:
        return self._stream is not None

    # -- resolve, connect, tls ---------------------------------------------------------------

    async def reach(self) -> None:
        options = self._options
        began = perf_counter()
        try:
            places = await resolve(self._target, dict(options.resolve), options.connect_s)
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
        if not self._target.is_secure or await self._shake(line):
            self._line = line

    @property
    def _server_name(self) -> str:
        host = self._target.address.host
        if is_name(host) or self._plan.host is None:
            return host
        return self._plan.host.partition(":")[0]

    async def _shake(self, line: Line) -> bool:
        """Whether there is TLS to talk through, trusted or not."""
        ca, seconds = self._options.ca, self._options.connect_s
        began = perf_counter()
        line.tls = context_for(ca, HTTP1, verify=True)
        seen = await look(line.place, line.tls, line.server_name, seconds)
        self._tls, fault, detail = seen.tls, seen.fault, seen.detail
        if fault in CERTIFICATE_FAULTS:
            line.tls = context_for(ca, HTTP1, verify=False)
            self._tls = (await look(line.place, line.tls, line.server_name, seconds)).tls
        if fault not in ("plaintext", "timeout", "tls_eof"):
            both = await look(
                line.place, context_for(ca, BOTH, verify=False), line.server_name, seconds
            )
            preferred = both.tls.alpn if both.tls else ""
            if preferred == "h2":
                self._notes.append("offered h2 and http/1.1, the peer chooses h2")
                if self._tls is None:
                    fault, detail = "http2", "the peer speaks h2 and refuses http/1.1"
                    self._tls = both.tls
        self._add("tls", began, fault or "", detail)
        return self._tls is not None and fault != "http2"

    # -- requests ----------------------------------------------------------------------------

    async def ask(self) -> None:
        """The plain GET, the upgrade, another that offers more, and the webhook's path."""
        if self._line is None:
            return
        await self._arm("plain", "upgrade", "webhook")
        options = self._options
        stream, webhook = options.stream_path, options.webhook_path
        accept = ("Accept", "application/json")
        requests: dict[What, tuple[str, Fields]] = {
            "plain": (stream, self._plain_fields(accept)),
            "upgrade": (stream, self._upgrade_fields("upgrade")),
            "webhook": (webhook, self._plain_fields(("Accept", "*/*"))),
        }
        answers = await asyncio.gather(
            *(self._ask(name, path, fields) for name, (path, fields) in requests.items())
        )
        self._asked = dict(zip(requests, answers, strict=True))
        await self._receive_upgrade()

    async def _ask(self, what: What, path: str, fields: Fields) -> Asked:
        assert self._line is not None  # noqa: S101 - asked only where there is a line
        if what in self._ids:
            echo = "; echo" if what == "upgrade" and not self._is_behind else ""
            fields = (*fields, (HEADER, self._ids[what] + echo))
        return await ask(self._line, what, "GET", path, fields, self._options.answer_s)

    @property
    def _authority(self) -> str:
        return self._plan.host or self._target.authority

    def _plain_fields(self, *others: tuple[str, str]) -> Fields:
        host = ("Host", self._authority)
        return (host, ("User-Agent", USER_AGENT), *others, ("Connection", "close"))

    def _upgrade_fields(self, what: str) -> Fields:
        scheme = "wss" if self._plan.is_secure else "ws"
        url = f"{scheme}://{self._authority}{self._options.stream_path}"
        signature = Signer(self._options.auth_token).sign(url.partition("?")[0])
        target = replace(self._target, authority=self._authority)
        return tuple(upgrade_fields(target, generate_key(), signature))

    async def _arm(self, *names: str) -> None:
        admin = self._plan.admin
        if admin is None:
            return
        try:
            ids = await asyncio.gather(*(admin.arm() for _ in names))
        except Unavailable as error:
            self._notes.append(f"no probe could be armed: {error}")
            return
        self._ids |= dict(zip(names, ids, strict=True))

    async def _arrivals(self, name: str) -> tuple[Arrival, ...] | None:
        if self._plan.admin is None or name not in self._ids:
            return None
        try:
            return await self._plan.admin.arrivals(self._ids[name])
        except Unavailable as error:
            self._notes.append(f"what arrived could not be fetched: {error}")
            return None

    async def _receive_upgrade(self) -> None:
        asked = self._asked["upgrade"]
        arrivals = await self._arrivals("upgrade")
        exchange = replace(asked.exchange, arrivals=arrivals)
        self._asked["upgrade"] = replace(asked, exchange=exchange)
        fault, detail = exchange.fault, asked.detail
        if fault == "not_upgraded" and self._is_refusal(exchange):
            self._notes.append(
                f"the gateway refused the {'signed' if self._options.auth_token else 'unsigned'} "
                f"upgrade with {detail}, so it is there"
            )
            fault, detail = "", f"refused with {detail}"
        name: PhaseName = "response" if not fault or has_switched(exchange) else "request"
        if name == "response":
            self._phases.append(Phase("request", 0.0))
        self._phases.append(Phase(name, exchange.ms, fault, detail))
        if asked.switched is None:
            return
        stream = ProbeStream(asked.switched)
        if fault:
            stream.abort()
        elif exchange.arrival is not None and exchange.arrival.was_echoed:
            self._stream = stream
        else:
            await self._watch(stream)

    def _is_refusal(self, exchange: Exchange) -> bool:
        """Whether a gateway, and no hop in front of it, refused who is not Twilio."""
        answer = exchange.answer
        if answer is None or answer.status not in REFUSALS:
            return False
        if self.hop.kind == "gateway":
            return True
        return answer.stamp is not None and answer.stamp.received_status == answer.status

    async def _watch(self, stream: ProbeStream) -> None:
        """See whether a gateway's stream, or one that nobody knows of, stays open for a moment."""
        began = perf_counter()
        try:
            async with asyncio.timeout(WATCH_S):
                end = await stream.receive_end()
        except TimeoutError:
            await _say_goodbye(stream)
            return
        except Ended as lost:
            self._add("echo", began, "cut", f"right behind the 101: {lost.detail}")
            return
        finally:
            stream.abort()
        if end is None:
            self._add("echo", began, "cut", "EOF right behind the 101, without a Close")
        elif end.code in (None, 1000, 1008) or end.code >= 3000:
            self._notes.append(f"the gateway closed with {end.code} {end.reason}".strip())
        else:
            self._add("echo", began, "cut", f"Close {end.code} {end.reason} right behind the 101")

    # -- the stream --------------------------------------------------------------------------

    async def open_stream(self) -> ProbeStream | None:
        """Another echoing stream of this hop, None where none is given."""
        if self._line is None:
            return None
        name = f"stream {len(self._ids)}"
        await self._arm(name)
        if name not in self._ids:
            return None
        fields = (*self._upgrade_fields("upgrade"), (HEADER, f"{self._ids[name]}; echo"))
        path, answer_s = self._options.stream_path, self._options.answer_s
        asked = await ask(self._line, "upgrade", "GET", path, fields, answer_s)
        if asked.switched is None:
            return None
        return ProbeStream(asked.switched)

    async def echo(self) -> None:
        if self._stream is None:
            return
        began = perf_counter()
        battery = Battery(self._stream, self.open_stream)
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
        stream = await self.open_stream()
        return None if stream is None else await way(stream, code, reason)

    def _add_worst(self, name: PhaseName, began: float, echoes: list[Echo]) -> None:
        self._echoes += echoes
        bad = next((echo for echo in echoes if echo.fault), None)
        detail = f"{bad.name}: {bad.saw}" if bad else ""
        self._add(name, began, bad.fault if bad else "", detail)

    async def stay_silent(self) -> None:
        """To come."""

    async def soak(self) -> None:
        """To come."""

    # -- the record --------------------------------------------------------------------------

    async def finish(self) -> Probe:
        found = {}
        for name, asked in self._asked.items():
            arrivals = await self._arrivals(name)
            found[name] = replace(asked.exchange, arrivals=arrivals)
        return Probe(
            self.hop,
            tuple(self._phases),
            self._addresses,
            self._tls,
            found.get("plain"),
            found.get("upgrade"),
            found.get("webhook"),
            None,
            tuple(self._echoes),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _add(self, name: PhaseName, began: float, fault: Flaw, detail: str) -> None:
        self._phases.append(Phase(name, (perf_counter() - began) * 1000, fault, detail))


def has_switched(exchange: Exchange) -> bool:
    """Whether a 101 was given behind the hop, by what the sidecar recorded or stamped."""
    if exchange.arrivals is not None:
        return any(arrival.status == 101 for arrival in exchange.arrivals)
    stamp = exchange.answer.stamp if exchange.answer else None
    if stamp is not None:
        return stamp.received_status == 101
    return exchange.answer is not None and exchange.answer.status == 101


async def _say_goodbye(stream: ProbeStream) -> None:
    try:
        await stream.send_close(1000, "")
    except Ended:
        return
