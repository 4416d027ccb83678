"""What a configuration makes of the paths that must work, judged alike for every ingress."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from doctor.linting.findings import Becomes, LintRule, Paths
from doctor.linting.ledger import Ledger

Role = Literal["webhook", "stream", "status"]
# As Twilio sends them. The stream has neither Origin nor Sec-WebSocket-Protocol.
_FORM = {"user-agent": "TwilioProxy/1.1", "content-type": "application/x-www-form-urlencoded"}
_UPGRADE = {
    "user-agent": "Twilio.TmeWs/1.0",
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One of Twilio's requests. The names of `headers` are lower-case."""

    role: Role
    method: str
    host: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


def requests_of(paths: Paths, host: str) -> tuple[Request, ...]:
    """Webhook, stream, status."""
    return (
        Request("webhook", "POST", host, paths.webhook, {"host": host, **_FORM}),
        Request("stream", "GET", host, paths.stream, {"host": host, **_UPGRADE}),
        Request("status", "POST", host, paths.status, {"host": host, **_FORM}),
    )


@dataclass(frozen=True, slots=True)
class Way:
    """Where one path goes. Without `upstream` the ingress answers by itself: `answer`."""

    path: str
    place: str = ""  # "ingress rule 2 (config.yml:7)"; "" where nothing takes it
    line: int = 0
    upstream: str = ""
    target: str = ""  # the path there; "" where it cannot be told
    answer: str = ""  # "404"

    @property
    def is_served(self) -> bool:
        return bool(self.upstream)

    @property
    def is_rewritten(self) -> bool:
        return self.is_served and self.target not in ("", self.path)

    def becomes(self) -> Becomes:
        return Becomes(self.path, self.place, self.upstream, self.target)

    def told(self) -> str:
        """ "/voice/stream is answered 404 by ingress rule 3 (config.yml:9)"."""
        if self.is_served:
            target = self.target if self.is_rewritten else ""
            return f"{self.path} goes to {self.upstream}{f' as {target}' if target else ''}"
        if self.place:
            return f"{self.path} is answered {self.answer} by {self.place}"
        return f"nothing takes {self.path}: {self.answer}"


@dataclass(frozen=True, slots=True)
class Ways:
    """Of one host; "" stands for every host that is not named."""

    host: str
    webhook: Way
    stream: Way
    status: Way

    def __iter__(self) -> Iterator[Way]:
        yield from (self.webhook, self.stream, self.status)


def judge_ways(ledger: Ledger, family: str, hosts: Sequence[Ways]) -> tuple[Becomes, ...]:
    """The findings that every family has (01 to 06), and what the paths become.

    A file often serves other hosts, too, so a host is judged only where it takes the webhook.
    """
    if not hosts:
        return ()
    serving = [ways for ways in hosts if ways.webhook.is_served]
    if not serving:
        chosen = next((ways for ways in hosts if ways.stream.is_served), hosts[0])
        at = f" (host {chosen.host})" if chosen.host else ""
        ledger.note(f"{family}02", chosen.webhook.line, f"{chosen.webhook.told()}{at}")
        if chosen.stream.is_rewritten:
            _judge_rewriting(ledger, family, chosen, at)
        return tuple(way.becomes() for way in chosen)
    for ways in serving:
        at = f" (host {ways.host})" if ways.host else ""
        _judge_stream(ledger, family, ways, at)
        _judge_rewriting(ledger, family, ways, at)
        if not ways.status.is_served:
            saw = f"{ways.webhook.told()}, and {ways.status.told()}{at}"
            ledger.note(f"{family}06", ways.status.line or ways.webhook.line, saw)
    # Of several, the host whose rules tell our paths apart is the one that was meant.
    chosen = max(serving, key=lambda ways: len({way.line for way in ways}))
    return tuple(way.becomes() for way in chosen)


def _judge_stream(ledger: Ledger, family: str, ways: Ways, at: str) -> None:
    saw = f"{ways.webhook.told()}, and {ways.stream.told()}{at}"
    line = ways.stream.line or ways.webhook.line
    if not ways.stream.is_served:
        ledger.note(f"{family}01", line, saw)
    elif ways.stream.upstream != ways.webhook.upstream:
        ledger.note(f"{family}05", line, saw)


def _judge_rewriting(ledger: Ledger, family: str, ways: Ways, at: str) -> None:
    """One prefix less (or more) on both paths is an arrangement; on one of them it is a slip."""
    webhook, stream = ways.webhook, ways.stream
    changed = [way for way in ways if way.is_rewritten]
    if not changed:
        return
    saw = "; ".join(way.told() for way in changed) + at
    change = _change(stream)
    is_slip = (
        change is None
        or change[1] in [way.path for way in ways]  # a whole path of ours before the other
        or (webhook.is_served and webhook.target and _change(webhook) != change)
    )
    if stream.is_rewritten and is_slip:
        ledger.note(f"{family}03", stream.line, saw)
    else:
        ledger.note(f"{family}04", changed[0].line, saw)


def _change(way: Way) -> tuple[str, str] | None:
    """What was taken from the front of a path and what was put there; None for anything else."""
    if not way.target or way.target == "/" != way.path:
        return None
    if way.path.endswith(way.target):
        return way.path.removesuffix(way.target), ""
    if way.target.endswith(way.path):
        return "", way.target.removesuffix(way.path)
    return None


def way_pages(family: str, program: str, serve: str, keep: str) -> tuple[LintRule, ...]:
    """The pages of 01 to 06. `serve` is how a path gets its place, `keep` how it stays itself."""
    return (
        LintRule(
            f"{family}01",
            "stream-unserved",
            "error",
            f"{program} passes the webhook on, and answers the stream by itself.",
            "Twilio posts the webhook first and opens the stream after it, on another path. That "
            "request never reaches the gateway, and Twilio reports 31920 whatever the answer was. "
            "Calls that only speak (notify) work, conversations die.",
            serve,
        ),
        LintRule(
            f"{family}02",
            "webhook-unserved",
            "error",
            f"{program} passes the webhook to no gateway.",
            "Without TwiML there is no call: Twilio reports 11200 and never opens a stream.",
            serve,
        ),
        LintRule(
            f"{family}03",
            "stream-rewritten",
            "error",
            "The stream arrives under another path than Twilio asked for.",
            "The gateway compares paths exactly. The webhook arrives as it should, or was changed "
            "in another way, so the gateway cannot be meant to know the stream by its new name.",
            keep,
        ),
        LintRule(
            f"{family}04",
            "paths-rewritten",
            "warning",
            "Paths arrive changed, and Twilio signs what it asked for.",
            "X-Twilio-Signature is made over the public URL. A gateway that rebuilds it from the "
            "path that arrived computes another one and answers 401 or 403; and what it writes "
            "into TwiML must hold the prefix that is taken away here.",
            keep,
        ),
        LintRule(
            f"{family}05",
            "stream-elsewhere",
            "warning",
            "The stream goes to another upstream than the webhook.",
            "That is right for a media server of its own. Mostly it is a rule that names one path "
            "of the gateway, while the rest falls to the web site.",
            serve,
        ),
        LintRule(
            f"{family}06",
            "status-unserved",
            "warning",
            f"{program} passes the webhook on, and answers status callbacks by itself.",
            "The gateway learns from them how a call ended. Without them calls that nobody "
            "answered stay open there until they time out.",
            serve,
        ),
    )
