"""What the table says of one ingress, each aspect by one small function (pure).

Behaviour first: the same whenever it is asked for. Then times, which are of this run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from doctor.comparing.heads import (
    answer_changes,
    has_stamp,
    joined,
    offers_kept,
    request_changes,
)
from doctor.comparing.passage import Passage
from doctor.comparing.verdicts import verdict_of
from doctor.evidence import Echo
from doctor.probing.passed import CallSeen, Passed

Cell = Callable[[Passage], str]
MERGED = "came back in one frame"
_PASSED: dict[Passed, str] = {
    "passed": "passed",
    "answered": "answered by the hop itself",
    "lost": "lost",
    "cut": "the stream is cut",
    "refused": "no stream to try it on",
    "unknown": "cannot tell",
}


@dataclass(frozen=True, slots=True)
class Aspect:
    """A row of the table. `tell` gives "" where an ingress has nothing to say."""

    group: str
    title: str
    tell: Cell
    is_measured: bool = False


# -- the upgrade ---------------------------------------------------------------------------------


def verdict(passage: Passage) -> str:
    """What the doctor says, with the rule where one knows the cause."""
    said = verdict_of(passage).replace("_", " ")
    rules = ", ".join(dict.fromkeys(each.rule for each in passage.diagnosis.findings))
    return f"{said} ({rules})" if rules else said


def upgrade(passage: Passage) -> str:
    """The answer to the upgrade, or what came in its place."""
    broken = passage.probe.broken
    exchange = passage.probe.upgrade
    if exchange is None or exchange.answer is None:
        return f"{broken.name}: {broken.fault.replace('_', ' ')}" if broken else "not asked"
    status = str(exchange.answer.status)
    if exchange.answer.status != 101:
        stamp = exchange.answer.stamp
        return f"{status}, {'from behind the ingress' if stamp else 'by the ingress'}"
    return f"{status}, {exchange.fault.replace('_', ' ')}" if exchange.fault else status


def arrives_as(passage: Passage) -> str:
    exchange = passage.probe.upgrade
    if exchange is None or exchange.arrivals is None:
        return ""
    if exchange.arrival is None:
        return "it does not arrive"
    arrival = exchange.arrival
    twice = f", {len(exchange.arrivals)} times" if len(exchange.arrivals) > 1 else ""
    return f"{arrival.method} HTTP/{arrival.version}{twice}"


def alpn(passage: Passage) -> str:
    """What is chosen where HTTP/2 is offered as well."""
    if passage.probe.tls is None:
        return "no TLS" if passage.probe.upgrade is not None else ""
    prefers_h2 = any("chooses h2" in note for note in passage.probe.notes)
    return "h2" if prefers_h2 else passage.probe.tls.alpn or "none"


# -- heads ---------------------------------------------------------------------------------------


def _request(change: str) -> Cell:
    def tell(passage: Passage) -> str:
        changes = request_changes(passage.probe)
        return "" if changes is None else joined(changes.names(change))  # type: ignore[arg-type]

    return tell


def _answer(change: str) -> Cell:
    def tell(passage: Passage) -> str:
        changes = answer_changes(passage.probe)
        if changes is None:
            return ""
        names = changes.names(change)  # type: ignore[arg-type]
        if change == "removed" and has_stamp(passage.probe) is False:
            names.append("Proxy-Status")
        return joined(names)

    return tell


def request_spelling(passage: Passage) -> str:
    changes = request_changes(passage.probe)
    return "" if changes is None else changes.spelling()


def answer_spelling(passage: Passage) -> str:
    changes = answer_changes(passage.probe)
    return "" if changes is None else changes.spelling()


def offers(passage: Passage) -> str:
    return offers_kept(passage.probe)


# -- targets -------------------------------------------------------------------------------------


def target(name: str) -> Cell:
    def tell(passage: Passage) -> str:
        seen = next((each for each in passage.targets if each.name == name), None)
        if seen is None:
            return ""
        if seen.fate == "changed":
            return f"becomes {_ending(seen.sent, seen.arrived)}"
        if seen.fate == "lost":
            return "no answer" if seen.status is None else f"answered {seen.status} in front"
        return "cannot tell" if seen.fate == "unknown" else "kept"

    return tell


def _ending(sent: str, arrived: str) -> str:
    """What arrived, without the directories in which nothing differs."""
    common = 0
    for index, (ours, theirs) in enumerate(zip(sent, arrived, strict=False)):
        if ours != theirs:
            break
        common = index if ours == "/" and index else common
    return f"…{arrived[common:]}" if common else arrived


# -- the stream ----------------------------------------------------------------------------------


def _manner(name: str) -> Cell:
    def tell(passage: Passage) -> str:
        return "" if passage.manners is None else _PASSED[getattr(passage.manners, name)]

    return tell


def messages(passage: Passage) -> str:
    """Texts, binaries and fragments from a byte to a mebibyte."""
    return _echoes([e for e in passage.probe.echoes if not _is_close(e) and e.name != "ping"])


def closes(passage: Passage) -> str:
    """Codes of both sides."""
    return _echoes([echo for echo in passage.probe.echoes if _is_close(echo)])


def _is_close(echo: Echo) -> bool:
    return echo.name.startswith("close ")


def _echoes(echoes: list[Echo]) -> str:
    if not echoes:
        return ""
    strange = [echo for echo in echoes if echo.fault or echo.saw == MERGED]
    told = [f"{each.name}: {each.fault.replace('_', ' ') or MERGED}" for each in strange]
    return "; ".join(told) or "as sent"


def idle(passage: Passage) -> str:
    silence = passage.probe.silence
    if silence is None:
        return ""
    if silence.died_after_s is None:
        return f"alive after {silence.wanted_s:g} s"
    return f"{silence.how} after {silence.died_after_s:.1f} s"


# -- times ---------------------------------------------------------------------------------------


def _median(pick: Callable[[CallSeen], float]) -> Cell:
    def tell(passage: Passage) -> str:
        values = [pick(call) for call in passage.calls if call.received]
        return f"{median(values):.2f} ms" if values else ""

    return tell


def worst_gap(passage: Passage) -> str:
    gaps = [call.worst_gap_ms for call in passage.calls if call.received]
    return f"{max(gaps):.0f} ms" if gaps else ""


def lost_media(passage: Passage) -> str:
    if not passage.calls:
        return ""
    sent = sum(call.sent for call in passage.calls)
    return f"{sent - sum(call.received for call in passage.calls)} of {sent}"


def aspects(targets: tuple[str, ...]) -> tuple[Aspect, ...]:
    """All rows, in their order. `targets` are the names of those that were asked for."""
    return (
        Aspect("upgrade", "upgrade", upgrade),
        Aspect("upgrade", "verdict", verdict),
        Aspect("upgrade", "arrives as", arrives_as),
        Aspect("upgrade", "of h2 and http/1.1 chooses", alpn),
        Aspect("heads", "request: added", _request("added")),
        Aspect("heads", "request: changed", _request("changed")),
        Aspect("heads", "request: dropped", _request("removed")),
        Aspect("heads", "request: names spelled", request_spelling),
        Aspect("heads", "subprotocol and extension offered", offers),
        Aspect("heads", "101: added", _answer("added")),
        Aspect("heads", "101: changed", _answer("changed")),
        Aspect("heads", "101: dropped", _answer("removed")),
        Aspect("heads", "101: names spelled", answer_spelling),
        *(Aspect("targets", name, target(name)) for name in targets),
        Aspect("stream", "bytes behind the head", _manner("early")),
        Aspect("stream", "messages to 1 MiB", messages),
        Aspect("stream", "ping by the client", _manner("ping_by_client")),
        Aspect("stream", "ping by the server", _manner("ping_by_server")),
        Aspect("stream", "close codes", closes),
        Aspect("stream", "half-close by the client", _manner("half_close")),
        Aspect("stream", "silence", idle),
        Aspect("times", "TCP and TLS", _median(lambda call: call.opened_ms), True),
        Aspect("times", "head to 101", _median(lambda call: call.switched_ms), True),
        Aspect("times", "round trip", _median(lambda call: call.round_trip_ms), True),
        Aspect("times", "jitter", _median(lambda call: call.jitter_ms), True),
        Aspect("times", "worst gap", worst_gap, True),
        Aspect("times", "media lost", lost_media, True),
    )
