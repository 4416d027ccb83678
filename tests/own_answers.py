"""Hops that answer by themselves, in front of the sidecar or in its place, for tests of rules."""

from dataclasses import replace

from doctor.evidence import Exchange, HopKind, Pairs, Sight, Stamp, Stranger
from sights import SWITCH, answer, plain, sight, upgrade

NOTHING_SAID = replace(plain(200, "", arrived=False), answer=answer(200, body=""))
BYPASS = upgrade(answer(101, fields=SWITCH))


def own(kind: HopKind, status: int, by: str = "", **more: object) -> Sight:
    """A hop that answered by itself, in its own words unless told otherwise."""
    return sight(kind, upgrade(status, by or kind), **more)  # type: ignore[arg-type]


def with_fields(kind: HopKind, status: int, *fields: tuple[str, str], body: str = "") -> Sight:
    pairs: Pairs = fields
    return sight(kind, upgrade(answer(status, fields=pairs, body=body)))


def stranger(kind: HopKind, what: Stranger, status: int = 502) -> Sight:
    return sight(kind, upgrade(status, kind, strangers=(what,)))


def stamped(error: str, details: str, status: int = 503) -> Exchange:
    return upgrade(answer(status, stamp=Stamp("01", None, error, details)))


REFUSED = stamped("connection_refused", "nothing listens on 127.0.0.1:8081")
