"""What a probe is told: the paths, the secrets, and how long things may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from doctor.addresses import Address


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Times are seconds. Secrets never show in tracebacks.

    `host` is the Host that the public URL stands for; without it the outermost hop's name is
    taken, where it has one. `resolve` gives hosts other addresses, as curl's --resolve does;
    `connect_to` stands in the place of the public name's address and port.
    """

    stream_path: str = "/voice/stream"
    webhook_path: str = "/voice/webhook"
    admin: str | None = None  # http://HOST:PORT of the sidecar's admin address
    admin_token: str | None = field(default=None, repr=False)
    idle_s: float = 0.0
    soak_s: float = 0.0
    auth_token: str | None = field(default=None, repr=False)  # upgrades are signed as Twilio's
    host: str | None = None
    connect_s: float = 5.0
    answer_s: float = 8.0
    echo_s: float = 3.0  # a mebibyte may take five times as long
    ca: Path | None = None  # authorities to trust beside the system's
    hop_notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by hop, of discovery
    resolve: Mapping[str, str] = field(default_factory=dict)
    connect_to: Address | None = None
