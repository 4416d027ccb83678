"""What an ingress makes of the two heads of an upgrade, in few words (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from doctor.diagnosis.heads import Change, Line, compare
from doctor.evidence import Pairs, Probe

# Values that say what an ingress does. Those of other fields are of one request, or of one place.
_TELLING = frozenset(
    """accept-encoding cache-control connection tailscale-funnel-request transfer-encoding upgrade
    via x-forwarded-proto""".split()
)
STAMP = "proxy-status"


@dataclass(frozen=True, slots=True)
class HeadChanges:
    """The fields of one head as they left and as they arrived."""

    lines: tuple[Line, ...]

    def of(self, change: Change) -> list[Line]:
        return [line for line in self.lines if line.change == change]

    def names(self, change: Change) -> list[str]:
        """Fields by name, with the value where it tells something, in alphabetical order."""
        return sorted(dict.fromkeys(map(_short, self.of(change))), key=str.lower)

    def spelling(self) -> str:
        """How the names are spelled on arrival, where that is another way."""
        respelled = [line for line in self.lines if _name(line.left) != _name(line.right)]
        names = [_name(line.right) for line in respelled if line.left and line.right]
        if not names:
            return "kept"
        if all(name == name.lower() for name in names):
            return "lower case"
        return ", ".join(sorted(set(names), key=str.lower))


def request_changes(probe: Probe) -> HeadChanges | None:
    """Between what was sent and what arrived at the sidecar. None where nothing arrived."""
    upgrade = probe.upgrade
    if upgrade is None or upgrade.arrival is None:
        return None
    return HeadChanges(compare(upgrade.fields, upgrade.arrival.fields))


def answer_changes(probe: Probe) -> HeadChanges | None:
    """Between what left the sidecar and what came back. None where either is not known.

    The sidecar's record is of the answer before it was stamped; a stamp that is gone is told by
    `has_stamp`.
    """
    upgrade = probe.upgrade
    if upgrade is None or upgrade.arrival is None or upgrade.answer is None:
        return None
    if upgrade.arrival.status != upgrade.answer.status:
        return None  # two different answers have nothing to compare
    return HeadChanges(
        compare(upgrade.arrival.answer_fields, _without_stamp(upgrade.answer.fields))
    )


def has_stamp(probe: Probe) -> bool | None:
    """Whether the sidecar's stamp came back. None where no answer did, or none of the sidecar's."""
    upgrade = probe.upgrade
    if upgrade is None or upgrade.answer is None or upgrade.arrival is None:
        return None
    return upgrade.answer.stamp is not None


def offers_kept(probe: Probe) -> str:
    """Whether an offered subprotocol and an offered extension arrived."""
    offer = probe.offer
    if offer is None or offer.arrival is None:
        return ""
    arrived = offer.arrival
    lost = [
        name
        for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")
        if arrived.value(name) != offer.sent(name)
    ]
    return "kept" if not lost else f"changed: {', '.join(lost)}"


def joined(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _without_stamp(fields: Pairs) -> Pairs:
    return tuple(pair for pair in fields if pair[0].lower() != STAMP)


def _name(line: str) -> str:
    return line.partition(":")[0]


def _value(line: str) -> str:
    return line.partition(": ")[2]


def _short(line: Line) -> str:
    name = _name(line.left or line.right)
    if line.change == "changed":
        return f"{name}: {_value(line.left)} → {_value(line.right)}"
    if name.lower() in _TELLING and (line.left or line.right).isprintable():
        return f"{name}: {_value(line.left or line.right)}"
    return name
