"""Builders of evidence: healthy by default, each fault a few words.

    sight("nginx", upgrade(404, "nginx"))             nginx's own 404, nothing arrived
    sight("nginx", upgrade(426, came=without("Upgrade")))   what nginx made of the upgrade

Behind every hop stands a healthy sidecar, behind the sidecar a healthy gateway. Fields are those
of the doctor's own upgrade; heads that real programs wrote are in tests/heads.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from doctor.evidence import (
    Answer,
    Arrival,
    Echo,
    Exchange,
    Fault,
    Hop,
    HopKind,
    Pairs,
    Phase,
    PhaseName,
    Probe,
    Sight,
    Silence,
    Soak,
    Stamp,
    Tls,
)
from doctor.rules import Finding, Skipped, judge
from proxy.handshake import accept_value, request_violations, response_violations
from proxy.http1 import RequestHead, ResponseHead
from proxy.redact import shown_target, shown_value

HEADS = Path(__file__).parent / "heads"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
STREAM, WEBHOOK = "/voice/stream", "/voice/webhook"
HOST = "voice.example.com"
SENT: Pairs = (
    ("Host", HOST),
    ("User-Agent", "Twilio.TmeWs/1.0"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
    ("X-Hopscope-Probe", "0123456789abcdef; echo"),
)
PLAIN: Pairs = (
    ("Host", HOST),
    ("User-Agent", "Twilio.TmeWs/1.0"),
    ("Accept", "application/json"),
    ("Connection", "close"),
)
SWITCH: Pairs = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", accept_value(KEY)),
)
# Errors as the programs write them, measured.
BODIES = {
    "nginx": "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>"
    "\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n",
    "haproxy": "<html><body><h1>{0}</h1>\nSome words of its own.\n</body></html>\n",
    "apache": '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" '
    '"http://www.w3.org/TR/html4/strict.dtd">\n<html><head>\n<title>{0}</title>\n</head></html>\n',
    "traefik": "{1}",
    "go": "404 page not found\n",
    "envoy": "upstream connect error or disconnect/reset before headers. reset reason: {1}",
    "caddy": "",
    "envoy-empty": "",
    "tailscale": "",
}
SERVERS = {
    "nginx": (("Server", "nginx/1.22.1"),),
    "apache": (("Server", "Apache/2.4.71 (Debian)"),),
    "envoy": (("server", "envoy"),),
    "envoy-empty": (("server", "envoy"),),
    "caddy": (("Server", "Caddy"), ("Content-Length", "0")),
    "tailscale": (("Date", "Mon"), ("Content-Length", "0")),
}
REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    530: "Origin Error",
}


def changed(fields: Pairs, **changes: str | None) -> Pairs:
    """Fields with some set (underscores stand for hyphens) or, for None, removed."""
    given = {name.replace("_", "-").lower(): (name, value) for name, value in changes.items()}
    kept = [(n, given[n.lower()][1] if n.lower() in given else v) for n, v in fields]
    there = {name.lower() for name, _ in fields}
    new = [(name.replace("_", "-"), v) for low, (name, v) in given.items() if low not in there]
    return tuple((name, value) for name, value in (*kept, *new) if value is not None)


def without(*names: str, fields: Pairs = SENT) -> Pairs:
    gone = {name.lower() for name in names}
    return tuple(pair for pair in fields if pair[0].lower() not in gone)


def head(name: str) -> tuple[str, Pairs]:
    """The version and fields of a head in tests/heads, as the sidecar would tell them."""
    text = (HEADS / f"{name}.head").read_bytes().decode("latin-1").removesuffix("\r\n\r\n")
    line, *rest = text.split("\r\n")
    pairs = [field.partition(":") for field in rest]
    told = [(key, value.strip(" ")) for key, _, value in pairs]
    return line[-3:], tuple((key, shown_value(key, value)) for key, value in told)


def arrival(
    fields: Pairs = SENT,
    *,
    target: str = STREAM,
    version: str = "1.1",
    status: int | None = 101,
    answer_fields: Pairs = SWITCH,
    was_echoed: bool = True,
    error: str = "",
    method: str = "GET",
) -> Arrival:
    """What the sidecar saw: by default the whole upgrade, answered by its echo."""
    known = tuple((name, value or "") for name, value in fields)
    request = RequestHead(b"", version, known, method, target)
    violations = request_violations(request) if method == "GET" else []
    return Arrival(
        id="01",
        method=method,
        target=shown_target(target),
        version=version,
        fields=fields,
        client="192.0.2.7",
        ingress="unknown",
        outcome="upgraded" if status == 101 else "refused",
        status=status,
        error=error,
        route="probe-echo" if was_echoed else "voice",
        violations=tuple(violation.line() for violation in violations),
        answer_fields=answer_fields if status == 101 else (),
        was_echoed=was_echoed,
    )


def answer(
    status: int,
    by: str = "",
    *,
    body: str | None = None,
    fields: Pairs = (),
    stamp: Stamp | None = None,
    key: str = KEY,
) -> Answer:
    """A response. `by` is a program of BODIES that made it, or "gateway" for one behind."""
    reason = REASONS.get(status, "")
    text = BODIES.get(by, "").format(f"{status} {reason}", reason)
    known: Pairs = (*SERVERS.get(by, ()), *fields)
    if by == "gateway":
        stamp = Stamp("01", status)
    request = RequestHead(b"", "1.1", (("Sec-WebSocket-Key", key),), "GET", STREAM)
    told = tuple((name, value or "") for name, value in known)
    found = response_violations(request, ResponseHead(b"", "1.1", told, status, reason))
    return Answer(
        status,
        reason,
        "1.1",
        known,
        text if body is None else body,
        stamp,
        tuple(violation.line() for violation in found),
    )


def upgrade(
    status: int | Answer | None = 101,
    by: str = "",
    *,
    came: Pairs | Arrival | None = None,
    fault: Fault | None = None,
    admin: bool = True,
    sent: Pairs = SENT,
    **changes: Any,
) -> Exchange:
    """An upgrade. `came` is what arrived of it, by default all where a 101 came back stamped.

    `status` None: no answer, for the `fault`.
    """
    given: Answer | None = status if isinstance(status, Answer) else None
    if isinstance(status, int):
        stamped = status == 101 or came is not None or by == "gateway"
        fields = SWITCH if status == 101 else ()
        stamp = Stamp("01", status) if stamped else None
        given = answer(status, by, fields=fields, stamp=stamp)
    if isinstance(came, tuple):
        came = arrival(came, status=given.status if given else None)
    if came is None and given is not None and given.status == 101 and given.stamp is not None:
        came = arrival(sent)
    known: Fault | str = fault or ""
    if fault is None and given is not None:
        known = "not_upgraded" if given.status != 101 else ""
    exchange = Exchange(
        "upgrade",
        "GET",
        STREAM,
        sent,
        3.0,
        given,
        known,  # type: ignore[arg-type]
        arrivals=None if not admin else () if came is None else (came,),
    )
    return replace(exchange, **changes)


def plain(
    status: int = 426, by: str = "gateway", *, came: Pairs = PLAIN, arrived: bool = True
) -> Exchange:
    """A plain GET of the stream's path, which the gateway answers."""
    seen = arrival(came, status=status, was_echoed=False) if arrived else None
    given = answer(status, by)
    arrivals = () if seen is None else (seen,)
    return Exchange("plain", "GET", STREAM, PLAIN, 2.0, given, arrivals=arrivals)


def webhook(status: int = 405, by: str = "gateway", *, arrived: bool = True) -> Exchange:
    exchange = plain(status, by, arrived=arrived)
    return replace(exchange, what="webhook", target=WEBHOOK)


ECHOES = (
    Echo("text 1 B", 1.0),
    Echo("ping", 1.0),
    Echo("burst 10 x 20 ms", 201.0),
    Echo("text 1 KiB", 1.0),
    Echo("fragments 3", 1.0),
    Echo("binary 64 KiB", 2.0),
    Echo("binary 1 MiB", 9.0),
    Echo("close 1000 by client", 1.0),
    Echo("close 4000 by client", 1.0),
    Echo("close 4001 by server", 1.0),
)


def echoes(**faults: tuple[Fault, str]) -> tuple[Echo, ...]:
    """The battery with some of it gone wrong, by names with underscores."""
    named = {name.replace("_", " "): told for name, told in faults.items()}
    return tuple(
        replace(echo, fault=named[echo.name][0], saw=named[echo.name][1])
        if echo.name in named
        else echo
        for echo in ECHOES
    )


TLS = Tls("TLSv1.3", "http/1.1", (HOST,), "An authority", "2027-02-01T00:00:00Z", 70.0, 2)
URLS = {"gateway": "http://127.0.0.1:8081", "sidecar": "http://127.0.0.1:8080"}


def hop(kind: HopKind, *, name: str = "", url: str = "") -> Hop:
    return Hop(name or kind, kind, url or URLS.get(kind, "http://192.0.2.1"))


def probe(
    kind: HopKind,
    exchange: Exchange | None = None,
    *,
    phases: tuple[Phase, ...] = (),
    name: str = "",
    url: str = "",
    **changes: Any,
) -> Probe:
    """A probe whose phases follow from its evidence, unless they are given."""
    secure = url.startswith("https:")
    made = Probe(
        hop(kind, name=name, url=url),
        phases,
        addresses=("192.0.2.1",),
        tls=TLS if secure else None,
        plain=plain(),
        upgrade=exchange if exchange is not None else upgrade(),
        webhook=webhook(),
    )
    if exchange is None and kind != "gateway":
        made = replace(made, echoes=ECHOES)
    if kind == "gateway" and exchange is None:
        own = replace(answer(101, fields=SWITCH), stamp=None)
        made = replace(made, upgrade=upgrade(own), plain=None, webhook=None)
    made = replace(made, **changes)
    return made if phases else replace(made, phases=phases_of(made))


def phases_of(made: Probe) -> tuple[Phase, ...]:
    found = [Phase("resolve", 0.1), Phase("connect", 0.2)]
    found += [Phase("tls", 2.0)] if made.tls is not None else []
    exchange = made.upgrade
    if exchange is None:
        return tuple(found)
    switched = any(each.status == 101 for each in exchange.arrivals or ())
    said = f"{exchange.answer.status}" if exchange.answer and exchange.fault else exchange.fault
    if exchange.fault and not switched:
        return (*found, Phase("request", 3.0, exchange.fault, said))
    found += [Phase("request", 0.0), Phase("response", 3.0, exchange.fault, said)]
    if exchange.fault or not made.echoes:
        return tuple(found)
    battery = [each for each in made.echoes if not each.name.startswith("close")]
    closes = [each for each in made.echoes if each.name.startswith("close")]
    found += [_worst("echo", battery), _worst("close", closes)]
    if made.silence is not None:
        died = made.silence.died_after_s
        found.append(Phase("idle", 9.0, "" if died is None else "cut", made.silence.how))
    if made.soak is not None:
        found.append(Phase("media", 9.0, made.soak.fault))
    return tuple(found)


def _worst(name: PhaseName, these: list[Echo]) -> Phase:
    bad = next((echo for echo in these if echo.fault), None)
    return Phase(name, 9.0, bad.fault if bad else "", f"{bad.name}: {bad.saw}" if bad else "")


def broken_at(name: PhaseName, fault: Fault, detail: str = "some words") -> tuple[Phase, ...]:
    """Phases that end at one of resolve, connect and tls."""
    names: tuple[PhaseName, ...] = ("resolve", "connect", "tls")
    good = [Phase(each, 1.0) for each in names[: names.index(name)]]
    return (*good, Phase(name, 1.0, fault, detail))


def unreached(kind: HopKind, name: PhaseName, fault: Fault, **changes: Any) -> Probe:
    """A hop to which no request could be sent."""
    empty: dict[str, Any] = {"plain": None, "webhook": None, "upgrade": None, "echoes": ()}
    return replace(probe(kind, phases=broken_at(name, fault), **changes), **empty)


GATEWAY = probe("gateway")
SIDECAR = probe("sidecar")


def sight(
    kind: HopKind,
    exchange: Exchange | None = None,
    *,
    behind: Probe | None = SIDECAR,
    extra: dict[str, Any] | None = None,
    **changes: Any,
) -> Sight:
    """A hop in front of a healthy sidecar (the sidecar itself: of a healthy gateway)."""
    made = probe(kind, exchange, **changes)
    return sight_of(made, behind, extra)


def sight_of(made: Probe, behind: Probe | None = SIDECAR, extra: Any = None) -> Sight:
    kind = made.hop.kind
    if behind is SIDECAR and kind in ("gateway", "sidecar"):
        behind = GATEWAY if kind == "sidecar" else None
    return Sight(made, behind, has_sidecar=kind != "gateway", extra=extra or {})


SOAK = Soak(2.0, 100, 100, 1.0, 21.0)
LIVED = Silence(70.0)


def said(seen: Sight) -> dict[str, Finding]:
    """The findings about one hop by their rules."""
    return {each.rule: each for each in judge(seen) if isinstance(each, Finding)}


def skipped(seen: Sight) -> dict[str, str]:
    return {each.rule: each.because for each in judge(seen) if isinstance(each, Skipped)}


@dataclass(frozen=True, slots=True)
class Case:
    """A rule with evidence for which it fires, what it then says, and evidence for which not.

    `also` are the other rules that fire with it, whatever their level.
    """

    rule: str
    fires: Sight
    says: str
    quiet: Sight
    also: tuple[str, ...] = ()

    @property
    def fires_alone(self) -> bool:
        return set(said(self.fires)) == {self.rule, *self.also}
