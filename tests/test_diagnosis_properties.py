"""Whatever the evidence, the verdict keeps its word: it raises nothing and names nobody absent."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.diagnosis.verdict import Diagnosis, diagnose, sights_of
from doctor.evidence import (
    KINDS,
    PHASES,
    Answer,
    Arrival,
    Echo,
    Exchange,
    Fault,
    Hop,
    Phase,
    Probe,
    Silence,
    Soak,
    Stamp,
    Tls,
)
from doctor.rules import RULES
from sights import BODIES, ECHOES, PLAIN, SENT, SWITCH, TLS, changed, probe, without

FAULTS: tuple[str, ...] = ("", "", "", *get_args(Fault))
TEXTS = ("", "x", "Close 1001", "nothing", "\\x15\\x03", "certificate required")
STATUSES = (101, 101, 200, 301, 302, 400, 401, 403, 404, 426, 429, 500, 502, 503, 504, 530)
ERRORS = ("", "", "connection_refused", "http_request_error", "destination_not_found")
FIELDS = (
    SENT,
    PLAIN,
    SWITCH,
    (),
    changed(SENT, Host="a", Connection="close"),
    without("Upgrade"),
    (("Location", "/login"), ("cf-mitigated", "challenge"), ("ngrok-error-code", "ERR_NGROK_1")),
)
VIOLATIONS = (
    (),
    ({"section": "4.1", "field": "Connection", "saw": None, "wanted": "Upgrade"},),
    ({"section": "4.2.1", "field": "HTTP version", "saw": "1.0", "wanted": "1.1"},),
)


class Chance:
    """Evidence at random: every value a rule may look at, in any combination."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, values: Sequence[Any]) -> Any:
        return self._random.choice(values)

    def is_so(self, share: float = 0.5) -> bool:
        return self._random.random() < share

    def stamp(self) -> Stamp | None:
        if self.is_so():
            return None
        return Stamp("01", self.one((None, *STATUSES)), self.one(ERRORS), self.one(TEXTS))

    def answer(self) -> Answer | None:
        if self.is_so(0.2):
            return None
        bodies = (*BODIES.values(), "<html>", "error code: 1033", "ERR_NGROK_6024")
        return Answer(
            self.one(STATUSES),
            self.one(TEXTS),
            self.one(("1.0", "1.1")),
            self.one(FIELDS),
            self.one(bodies),
            self.stamp(),
            self.one(VIOLATIONS),
        )

    def arrival(self) -> Arrival:
        return Arrival(
            id="01",
            method="GET",
            target=self.one(("/voice/stream", "/stream")),
            version=self.one(("1.0", "1.1")),
            fields=self.one(FIELDS),
            client="",
            ingress="",
            outcome="",
            status=self.one((None, *STATUSES)),
            error=self.one(ERRORS),
            violations=self.one(VIOLATIONS),
            answer_fields=self.one(FIELDS),
            was_echoed=self.is_so(),
        )

    def exchange(self) -> Exchange | None:
        if self.is_so(0.3):
            return None
        arrivals = self.one((None, (), (self.arrival(),), (self.arrival(), self.arrival())))
        return Exchange(
            "upgrade",
            "GET",
            "/voice/stream",
            self.one(FIELDS),
            self.one((1.0, 9000.0)),
            self.answer(),
            self.one(FAULTS),
            self.one(TEXTS),
            arrivals,
            self.one(((), ("tls",), ("http2",), ("proxy", "unreadable"))),
        )

    def phases(self) -> tuple[Phase, ...]:
        names = [name for name in PHASES if self.is_so(0.6)]
        return tuple(Phase(name, 1.0, self.one(FAULTS), self.one(TEXTS)) for name in names)

    def echoes(self) -> tuple[Echo, ...]:
        some = [echo for echo in ECHOES if self.is_so()]
        bad = tuple(Echo(echo.name, 1.0, self.one(FAULTS), self.one(TEXTS)) for echo in some)
        return self.one(((), ECHOES, bad))  # type: ignore[no-any-return]

    def probe(self, name: str) -> Probe:
        return Probe(
            Hop(name, self.one(KINDS), self.one(("http://a", "https://b.ts.net"))),
            self.phases(),
            self.one(((), ("100.64.0.1",), ("nonsense",))),
            self.one((None, TLS, Tls("", "h2"))),
            plain=self.exchange(),
            upgrade=self.exchange(),
            webhook=self.exchange(),
            offer=self.exchange(),
            through=self.exchange(),
            echoes=self.echoes(),
            silence=self.one((None, Silence(9.0), Silence(9.0, 1.0, self.one(TEXTS)))),
            soak=self.one((None, Soak(1.0, 50, 40, 1.0, 20.0, self.one(FAULTS)))),
        )

    def nearly_well(self, name: str) -> Probe:
        """A healthy hop, with at most one thing about it at random."""
        kind = self.one(KINDS)
        made, other = probe(kind, name=name), self.probe(name)
        field = self.one((None, None, "phases", "plain", "upgrade", "webhook", "echoes", "silence"))
        return made if field is None else replace(made, **{field: getattr(other, field)})

    def chain(self) -> list[Probe]:
        names = "abcd"[: self._random.randrange(5)]
        make = self.one((self.probe, self.nearly_well))
        return [make(name) for name in names]


@given(st.integers(0, 2**64))
@settings(max_examples=300, deadline=None)
def test_whatever_was_seen_the_verdict_keeps_its_word(seed: int) -> None:
    probes = Chance(seed).chain()
    found = diagnose(sights_of(probes))
    _check_names(found, {each.hop.name for each in probes})
    errors = [finding for finding in found.findings if finding.level == "error"]
    if found.verdict == "healthy":
        assert errors == []
        assert (found.hop, found.between, found.phase, found.rule) == (None, None, None, None)
        assert not _unexcused(probes)
    if found.verdict == "broken":
        assert found.phase is not None
    assert found.sentence.endswith(".")
    told = [(finding.rule, finding.hop) for finding in found.findings]
    assert len(set(told)) == len(told)


def _check_names(found: Diagnosis, names: set[str]) -> None:
    assert found.hop is None or found.hop in names
    assert set(found.between or ()) <= names
    assert {finding.hop for finding in (*found.findings, *found.consequences)} <= names
    assert found.rule is None or found.rule in RULES
    assert found.rule is None or found.rule in {finding.rule for finding in found.findings}


def _unexcused(probes: Sequence[Probe]) -> list[str]:
    """Hops with a fault that is not just the doctor's own way to them, or its own path."""
    found = []
    for index, each in enumerate(probes):
        excused = {"resolve", "connect", "tls"}
        throughs = [front.through for front in probes[index + 1 :] if front.is_good]
        arrived = {through.arrival.target for through in throughs if through and through.arrival}
        if each.upgrade is not None and arrived - {each.upgrade.target}:
            excused |= {"request", "response"}  # it is asked for another path by who passes it
        found += [
            each.hop.name for phase in each.phases if phase.fault and phase.name not in excused
        ]
    return found


def test_chance_makes_verdicts_of_every_kind() -> None:
    seen = {diagnose(sights_of(Chance(seed).chain())).verdict for seed in range(300)}
    assert seen == {"healthy", "broken", "cannot_tell"}
