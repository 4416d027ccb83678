"""What probing recorded: facts as data, no judgement. Rules judge (doctor/rules), reports render.

A chain is a list of hops, inside first: gateway, sidecar, nginx, tunnel. Each hop is probed by
itself, at its own address, and what the sidecar saw of the same probe is laid beside it. Times are
milliseconds, sizes bytes. Values that may be secrets are hidden before they come here
(proxy/redact.py); None as a header's value means: present, not shown.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

HopKind = Literal[
    "gateway",
    "sidecar",
    "nginx",
    "cloudflared",
    "tailscale",
    "caddy",
    "haproxy",
    "traefik",
    "envoy",
    "apache",
    "other",
]
KINDS: tuple[HopKind, ...] = get_args(HopKind)
# In the order in which they happen; the names are those of `hopscope doctor --json`. An upgrade
# fails in "request" where no 101 was given behind the hop, as far as is known (by the sidecar's
# record, else by its stamp), and in "response" where one was and did not come back whole.
PhaseName = Literal[
    "resolve", "connect", "tls", "request", "response", "echo", "idle", "close", "media"
]
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)

# What went wrong in a phase. One word each, so that nothing matches on a text.
Fault = Literal[
    "unresolved",  # the name has no address
    "unreachable",  # no route to the address
    "refused",  # RST in place of a connection
    "timeout",  # nothing came in time
    "certificate_expired",
    "certificate_name",
    "certificate_untrusted",  # self-signed, or the chain does not end in a known root
    "tls_alert",  # the peer ended the TLS handshake with an alert
    "tls_eof",  # ... or without a word
    "plaintext",  # it answered TLS with something else, mostly HTTP
    "http2",  # it speaks HTTP/2 and nothing else
    "reset",
    "eof",  # closed before the answer was whole
    "not_http",
    "not_upgraded",  # an answer, and no 101
    "bad_accept",  # a 101 that answers another key
    "bad_101",  # a 101 with another flaw (see the exchange's violations)
    "altered",  # other bytes came back
    "held",  # they came late, or only with others
    "missing",  # they never came
    "cut",  # the connection ended under them
    "close_lost",  # the end came without the Close that was sent
    "close_changed",  # a Close came with another code
]
# What came to the sidecar's port in place of a request. It carries no id, so it is known by time.
Stranger = Literal["tls", "http2", "proxy", "unreadable"]
Pairs = tuple[tuple[str, str | None], ...]
What = Literal["plain", "upgrade", "webhook", "wrong_path"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One place on the way. `url` is where it is dialled: http(s)://HOST[:PORT]."""

    name: str
    kind: HopKind
    url: str
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of a probe. `fault` is "" where it went well, `detail` is for people."""

    name: PhaseName
    ms: float
    fault: Fault | Literal[""] = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tls:
    """What the TLS handshake showed, whether or not the certificate is trusted.

    Also of a hop that is dialled in plain, where it hung up and then shook hands.
    """

    version: str  # "TLSv1.3"
    alpn: str  # what was chosen: "http/1.1", "h2", or ""
    names: tuple[str, ...] = ()  # subjectAltName
    issuer: str = ""
    not_after: str = ""  # ISO 8601
    days_left: float | None = None
    chain_length: int | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """The sidecar's Proxy-Status on an answer (RFC 9209)."""

    id: str
    received_status: int | None = None
    error: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. `body` is the beginning of its text, `violations` as in the log."""

    status: int
    reason: str
    version: str  # "1.0" or "1.1"
    fields: Pairs
    body: str = ""
    stamp: Stamp | None = None
    violations: tuple[dict[str, Any], ...] = ()

    def value(self, name: str) -> str | None:
        """A field's values, joined; None where it is absent (or hidden)."""
        return _value(self.fields, name)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the sidecar saw of a request of ours. `target` and `fields` as they arrived."""

    id: str
    method: str
    target: str
    version: str
    fields: Pairs
    client: str
    ingress: str
    outcome: str
    status: int | None
    error: str = ""
    reason: str = ""
    route: str | None = None
    upstream: str | None = None
    violations: tuple[dict[str, Any], ...] = ()
    # Of the whole target, in which parts are hidden (proxy/probes.py); "" where it is not known.
    target_digest: str = ""
    answer_fields: Pairs = ()  # of the response that left the sidecar
    was_echoed: bool = False  # the sidecar answered it itself, as it was asked to

    def value(self, name: str) -> str | None:
        return _value(self.fields, name)

    def has(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.fields)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of a probe and what came back. `arrivals` is None without the admin API."""

    what: What
    method: str
    target: str
    fields: Pairs  # as they were sent
    ms: float
    answer: Answer | None = None
    fault: Fault | Literal[""] = ""
    first_bytes: str = ""  # what came in place of HTTP, printable
    arrivals: tuple[Arrival, ...] | None = None
    target_digest: str = ""  # of the whole target that was sent, to compare with an arrival's
    strangers: tuple[Stranger, ...] = ()  # heads that the sidecar could not read meanwhile

    @property
    def arrival(self) -> Arrival | None:
        return self.arrivals[0] if self.arrivals else None

    def sent(self, name: str) -> str | None:
        return _value(self.fields, name)


@dataclass(frozen=True, slots=True)
class Echo:
    """One message, ping or close that was sent over an echoing stream, and what came back.

    `aged_s` is how old a stream was when it was cut, where the message is not to blame: over a new
    stream it came back, or a silent one beside it was cut, too.
    """

    name: str  # "text 1 B", "binary 1 MiB", "fragments 3", "ping", "close 4000 by client"
    ms: float
    fault: Fault | Literal[""] = ""
    saw: str = ""
    aged_s: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Both sides were silent for so long. `died_after_s` is None where the stream lived."""

    wanted_s: float
    died_after_s: float | None = None
    how: str = ""  # "EOF without Close", "Close 1001", "reset"


@dataclass(frozen=True, slots=True)
class Soak:
    """Frames of 20 ms, echoed."""

    seconds: float
    sent: int
    received: int
    round_trip_ms: float  # median
    worst_gap_ms: float
    fault: Fault | Literal[""] = ""
    jitter_ms: float = 0.0  # median change of the round trip from one frame to the next


@dataclass(frozen=True, slots=True)
class Untried:
    """A phase that was due and could not be tried, though nothing before it went wrong."""

    phase: PhaseName
    because: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Everything about one hop. What was not tried is None or empty."""

    hop: Hop
    phases: tuple[Phase, ...]
    addresses: tuple[str, ...] = ()
    tls: Tls | None = None
    plain: Exchange | None = None
    upgrade: Exchange | None = None
    webhook: Exchange | None = None
    offer: Exchange | None = None  # another upgrade, that offers a subprotocol and an extension
    # An upgrade that the sidecar does not echo, so that it goes through to the gateway.
    through: Exchange | None = None
    echoes: tuple[Echo, ...] = ()
    silence: Silence | None = None
    soak: Soak | None = None
    notes: tuple[str, ...] = ()  # what a configuration or a metrics port told
    untried: tuple[Untried, ...] = ()

    @property
    def broken(self) -> Phase | None:
        """The first phase that went wrong."""
        return next((phase for phase in self.phases if phase.fault), None)

    @property
    def is_good(self) -> bool:
        return bool(self.phases) and self.broken is None

    @property
    def died_silent(self) -> bool:
        """Whether a stream that was left silent was cut."""
        return self.silence is not None and self.silence.died_after_s is not None

    def phase(self, name: PhaseName) -> Phase | None:
        return next((phase for phase in self.phases if phase.name == name), None)


@dataclass(frozen=True, slots=True)
class Linted:
    """A finding of the linter about the hop's configuration."""

    rule: str
    slug: str
    file: str
    line: int
    saw: str
    fix: str
    level: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a rule may ask for about one hop: its probe, the hop behind it, its configuration."""

    probe: Probe
    behind: Probe | None = None
    linted: tuple[Linted, ...] = ()
    stream_path: str = "/voice/stream"
    webhook_path: str = "/voice/webhook"
    # Whether the sidecar is this hop or behind it, so that it sees what passes here.
    has_sidecar: bool = True
    # Of the whole chain: `call` is the JSON of `hopscope call`, `missing` are the sidecar's
    # stream_never_arrived lines.
    extra: dict[str, Any] = field(default_factory=dict)


def as_json(record: Any) -> Any:
    """A record for `--json`."""
    return _plain(asdict(record))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(fields: Pairs, name: str) -> str | None:
    values = [value for key, value in fields if key.lower() == name.lower() and value is not None]
    return ", ".join(values) if values else None
