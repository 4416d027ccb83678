"""The rules that every family has: what becomes of webhook, stream and status (01 to 06)."""

from collections.abc import Iterator
from pathlib import Path

from doctor.linting.findings import LintFinding, LintRule
from doctor.linting.ways import Way, Ways


class WayRules:
    """Their pages and checks for one program. `serve` says how a path gets its place there, `keep`
    how it stays as it is; without `keep` the program rewrites no paths, and 03 and 04 are absent.
    """

    def __init__(self, family: str, program: str, *, serve: str, keep: str = "") -> None:
        self._family = family
        self._rules = {rule.id[2:]: rule for rule in _pages(family, program, serve, keep)}

    @property
    def rules(self) -> tuple[LintRule, ...]:
        return tuple(self._rules.values())

    def judge(self, ways: Ways, file: Path) -> Iterator[LintFinding]:
        webhook, stream, status = ways
        if not webhook.is_served:
            yield self._found("02", webhook.line, f"{webhook.told()}{ways.at}", file)
        else:
            line = stream.line or webhook.line
            saw = f"{webhook.told()}, and {stream.told()}{ways.at}"
            if not stream.is_served:
                yield self._found("01", line, saw, file)
            elif stream.upstream != webhook.upstream:
                yield self._found("05", line, saw, file)
            if status.path and not status.is_served:
                saw = f"{webhook.told()}, and {status.told()}{ways.at}"
                yield self._found("06", status.line or webhook.line, saw, file)
        changed = [way for way in ways if way.is_rewritten]
        if changed and (webhook.is_served or stream.is_served):
            rule, line = ("03", stream.line) if _is_slip(ways) else ("04", changed[0].line)
            yield self._found(rule, line, "; ".join(w.told() for w in changed) + ways.at, file)

    def _found(self, number: str, line: int, saw: str, file: Path) -> LintFinding:
        rule = self._rules[number]
        return LintFinding(rule.id, rule.slug, rule.level, file, line, saw, rule.fix)


def _is_slip(ways: Ways) -> bool:
    """One prefix less (or more) on both paths is an arrangement; on one of them it is a slip."""
    webhook, stream = ways.webhook, ways.stream
    change = _change(stream)
    return stream.is_rewritten and (
        change is None
        or change[1] in [way.path for way in ways]  # a whole path of ours before the other
        or (webhook.is_served and webhook.target != "" and _change(webhook) != change)
    )


def _change(way: Way) -> tuple[str, str] | None:
    """What was taken from the front of a path and what was put there; None for anything else."""
    if not way.target or way.target == "/" != way.path:
        return None
    if way.path.endswith(way.target):
        return way.path.removesuffix(way.target), ""
    if way.target.endswith(way.path):
        return "", way.target.removesuffix(way.path)
    return None


def _pages(family: str, program: str, serve: str, keep: str) -> Iterator[LintRule]:
    yield LintRule(
        f"{family}01",
        "stream-unserved",
        "error",
        f"{program} passes the webhook on, and answers the stream by itself.",
        "Twilio posts the webhook first and opens the stream after it, on another path. That "
        "request never reaches the gateway, and Twilio reports 31920 whatever the answer was. "
        "Calls that only speak (notify) work, conversations die.",
        serve,
    )
    yield LintRule(
        f"{family}02",
        "webhook-unserved",
        "error",
        f"{program} passes the webhook to no gateway.",
        "Without TwiML there is no call: Twilio reports 11200 and never opens a stream.",
        serve,
    )
    if keep:
        yield from _rewriting(family, keep)
    yield LintRule(
        f"{family}05",
        "stream-elsewhere",
        "warning",
        "The stream goes to another upstream than the webhook.",
        "That is right for a media server of its own. Mostly it is a rule that names one path "
        "of the gateway, while the rest falls to the web site.",
        serve,
    )
    yield LintRule(
        f"{family}06",
        "status-unserved",
        "warning",
        f"{program} passes the webhook on, and answers status callbacks by itself.",
        "The gateway learns from them how a call ended. Without them calls that nobody "
        "answered stay open there until they time out.",
        serve,
    )


def _rewriting(family: str, keep: str) -> Iterator[LintRule]:
    yield LintRule(
        f"{family}03",
        "stream-rewritten",
        "error",
        "The stream arrives under another path than Twilio asked for.",
        "The gateway compares paths exactly. The webhook arrives as it should, or was changed "
        "in another way, so the gateway cannot be meant to know the stream by its new name.",
        keep,
    )
    yield LintRule(
        f"{family}04",
        "paths-rewritten",
        "warning",
        "Paths arrive changed, and Twilio signs what it asked for.",
        "X-Twilio-Signature is made over the public URL. A gateway that rebuilds it from the "
        "path that arrived computes another one and answers 401 or 403; and what it writes "
        "into TwiML must hold the prefix that is taken away here.",
        keep,
    )
