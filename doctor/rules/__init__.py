"""Rules: one function each, from evidence to one observed fact.

A rule asks for its evidence in its signature; the names are those of EVIDENCE below. It returns
the fact, one sentence about what was seen, or None. Where a piece of evidence is missing the rule
is skipped and says why, never silent. Its docstring is its page (`hopscope explain`): the first
line is the defect, then the sections Why, Evidence, Fix, and Fix KIND for each kind of hop that
has its own.

A family a module: names (NE), handshake (HS), frames (FR), closes (CL), twilio (TW), and what the
catalogue of faults adds. Ids are never reused.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from doctor.addresses import parse_url
from doctor.evidence import HopKind, PhaseName, Sight

Level = Literal["error", "warning"]
Check = Callable[..., str | None]

# What a rule may ask for: how it is found in what is known of a hop, and what it is called where
# it is missing.
EVIDENCE: Mapping[str, tuple[Callable[[Sight], Any], str]] = {
    "sight": (lambda sight: sight, ""),
    "probe": (lambda sight: sight.probe, ""),
    "behind": (lambda sight: sight.behind, "there is no hop behind this one"),
    "upgrade": (lambda sight: sight.probe.upgrade, "no upgrade could be sent"),
    "answer": (
        lambda sight: sight.probe.upgrade and sight.probe.upgrade.answer,
        "the upgrade had no answer",
    ),
    "arrival": (
        lambda sight: sight.probe.upgrade and sight.probe.upgrade.arrival,
        "the sidecar has no record of the upgrade: it did not arrive, or --admin is not known",
    ),
    "plain": (lambda sight: sight.probe.plain, "no plain request was sent"),
    "webhook": (lambda sight: sight.probe.webhook, "the webhook was not asked"),
    "tls": (lambda sight: sight.probe.tls, "no TLS handshake took place"),
    "echoes": (lambda sight: sight.probe.echoes or None, "no stream was open to echo"),
    "silence": (lambda sight: sight.probe.silence, "the stream was not left idle (--idle)"),
    "soak": (lambda sight: sight.probe.soak, "no media was sent (--soak)"),
    "linted": (lambda sight: sight.linted or None, "the hop's configuration is not known"),
    "call": (lambda sight: sight.extra.get("call"), "no call was simulated (hopscope call)"),
    "twiml": (lambda sight: _twiml(sight), "no TwiML was seen (hopscope call shows it)"),
    "missing": (lambda sight: sight.extra.get("missing"), "the sidecar's log is not known"),
}
# The phases that give a piece of evidence, where one may be due and untried.
_PHASE_OF: Mapping[str, PhaseName] = {"echoes": "echo", "silence": "idle", "soak": "media"}
_ID = re.compile(r"[A-Z]{2}[0-9]{2}")
_SECTION = re.compile(r"^(Why|Evidence|Fix(?: (\w+))?):$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """What `hopscope explain` prints of a rule."""

    defect: str
    why: str
    evidence: str
    fix: str  # where the hop's kind has none of its own
    fixes: Mapping[str, str]

    def fix_for(self, kind: HopKind) -> str:
        return self.fixes.get(kind, self.fix)


@dataclass(frozen=True, slots=True)
class Rule:
    """`slug` is the name of its function, in the spelling of command lines."""

    id: str
    slug: str
    level: Level
    check: Check
    needs: tuple[str, ...]
    page: Page


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that fired: what was seen at which hop, and what to do there."""

    rule: str
    slug: str
    hop: str
    level: Level
    saw: str
    fix: str


@dataclass(frozen=True, slots=True)
class Skipped:
    rule: str
    hop: str
    because: str


RULES: dict[str, Rule] = {}


def _twiml(sight: Sight) -> str | None:
    """The webhook's document, from a simulated call or from a gateway that answers a GET."""
    call, webhook = sight.extra.get("call"), sight.probe.webhook
    told = call.get("twiml") if isinstance(call, dict) else None
    body = webhook.answer.body if webhook is not None and webhook.answer is not None else ""
    return told or (body if "<Response" in body else None)


def rule(rule_id: str, *, level: Level = "error") -> Callable[[Check], Check]:
    """Register a function as a rule. Raises ValueError for an id in use, a page with a hole."""

    def register(check: Check) -> Check:
        if _ID.fullmatch(rule_id) is None or rule_id in RULES:
            raise ValueError(f"{rule_id}: is no rule's id, or another rule's")
        needs = tuple(inspect.signature(check).parameters)
        unknown = [name for name in needs if name not in EVIDENCE]
        if unknown:
            raise ValueError(f"{rule_id}: there is no evidence called {', '.join(unknown)}")
        slug = check.__name__.replace("_", "-")
        page = read_page(rule_id, inspect.getdoc(check) or "")
        RULES[rule_id] = Rule(rule_id, slug, level, check, needs, page)
        return check

    return register


def read_page(rule_id: str, text: str) -> Page:
    """A rule's docstring. Raises ValueError where a section is missing."""
    parts = _SECTION.split(text)
    sections: dict[str, str] = {}
    for name, _, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        sections[name] = inspect.cleandoc(body).strip()
    missing = [name for name in ("Why", "Evidence", "Fix") if not sections.get(name)]
    if missing or not parts[0].strip():
        raise ValueError(f"{rule_id}: its page lacks {', '.join(missing) or 'the defect'}")
    fixes = {name[4:]: body for name, body in sections.items() if name.startswith("Fix ")}
    defect = " ".join(parts[0].split())
    return Page(defect, sections["Why"], sections["Evidence"], sections["Fix"], fixes)


def judge(sight: Sight) -> Iterator[Finding | Skipped]:
    """What every rule has to say about one hop, in the order of their ids."""
    hop = sight.probe.hop
    for known in sorted(RULES.values(), key=lambda each: each.id):
        given = {name: EVIDENCE[name][0](sight) for name in known.needs}
        absent = [name for name, value in given.items() if value is None]
        if absent:
            yield Skipped(known.id, hop.name, _why_absent(sight, absent[0]))
            continue
        saw = known.check(**given)
        if saw is not None:
            fix = addressed(known.page.fix_for(hop.kind), sight)
            yield Finding(known.id, known.slug, hop.name, known.level, saw, fix)


def addressed(fix: str, sight: Sight) -> str:
    """A fix for the hop at hand: what pages call by the defaults is called as it is here.

    A hop in front of the sidecar is told of what stands behind it, which the pages call
    127.0.0.1:8080, and by the name that was asked for. Where that is not known the fix stays
    as it is.
    """
    behind = sight.behind
    if sight.has_sidecar and sight.probe.hop.kind != "sidecar" and behind is not None:
        url = parse_url(behind.hop.url)
        fix = fix.replace("http://127.0.0.1:8080", behind.hop.url.rstrip("/"))
        fix = fix.replace("127.0.0.1:8080", str(url.address))
        if url.address.host == "127.0.0.1":
            fix = re.sub(r"(funnel --bg (?:--\S+ )*)8080\b", rf"\g<1>{url.address.port}", fix)
    asked = sight.probe.upgrade and sight.probe.upgrade.sent("Host")
    if asked and any(character.isalpha() for character in asked.partition(":")[0]):
        fix = fix.replace("voice.example.com", asked.partition(":")[0])
    return fix.replace("/voice/stream", sight.stream_path)


def _why_absent(sight: Sight, name: str) -> str:
    phase = _PHASE_OF.get(name)
    untried = next((each for each in sight.probe.untried if each.phase == phase), None)
    return EVIDENCE[name][1] if untried is None else untried.because


# They register themselves; what they need of this module stands above.
from doctor.rules import (  # noqa: E402
    answers,  # noqa: F401
    certificates,  # noqa: F401
    closes,  # noqa: F401
    frames,  # noqa: F401
    handshake,  # noqa: F401
    names,  # noqa: F401
    policy,  # noqa: F401
    refusing,  # noqa: F401
    rewriting,  # noqa: F401
    routing,  # noqa: F401
    switching,  # noqa: F401
    twilio,  # noqa: F401
    upstream,  # noqa: F401
)
