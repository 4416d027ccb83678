"""What a configuration makes of the paths that must work, judged alike for every ingress."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from doctor.linting.findings import Becomes, LintFinding, Paths

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
    is_named: bool = False  # what takes it does so by its path, not with the whole host

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

    @property
    def at(self) -> str:
        """For the end of a sentence."""
        return f" (host {self.host})" if self.host else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found on the hosts of a file, and what the paths become on the one that is ours."""

    findings: tuple[LintFinding, ...] = ()
    paths: tuple[Becomes, ...] = ()
    remarks: tuple[str, ...] = ()


def judge_hosts(hosts: Sequence[Ways], check: Callable[[Ways], Iterable[LintFinding]]) -> Verdict:
    """Judge the host that is ours.

    A file often serves other hosts, too. Ours is one whose rules name our paths. Where none does
    and several would take them, what fires for one of them may be right for it: only what fires
    for all of them counts. Where none takes the webhook, what a host answers itself is looked at.
    """
    serving = [ways for ways in hosts if ways.webhook.is_served]
    naming = [ways for ways in serving if any(way.is_named for way in ways if way.is_served)]
    ours = naming or serving
    if not ours:
        streaming = [ways for ways in hosts if ways.stream.is_served]
        ours = (streaming or list(hosts))[:1]
    found = [tuple(check(ways)) for ways in ours]
    remarks = []
    if len(ours) > 1 and not naming:
        common = set.intersection(*({each.rule for each in each_of} for each_of in found))
        found = [tuple(each for each in each_of if each.rule in common) for each_of in found]
        names = ", ".join(ways.host or "any other" for ways in ours[:5])
        remarks.append(f"Several hosts take the paths ({names}); name the one that Twilio asks.")
    return Verdict(
        _once(each for each_of in found for each in each_of),
        tuple(way.becomes() for way in ours[0]) if ours else (),
        tuple(remarks),
    )


def _once(findings: Iterable[LintFinding]) -> tuple[LintFinding, ...]:
    """One finding of a rule a line, as hosts share lines."""
    first: dict[tuple[str, int], LintFinding] = {}
    for finding in findings:
        first.setdefault((finding.rule, finding.line), finding)
    return tuple(first.values())
