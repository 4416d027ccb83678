"""What all hops of a chain share, and the heads that are sent to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from websockets.utils import generate_key

from doctor.addresses import Target
from doctor.evidence import Hop
from doctor.probing.options import ProbeOptions
from doctor.probing.sidecar import AdminAddress
from doctor.probing.tls import Trust
from doctor.signing import Signer
from doctor.websocket import USER_AGENT, upgrade_fields
from proxy.http1 import Fields
from proxy.probes import HEADER

# Offered by no voice call: whether a hop drops them is told apart from whether calls work.
OFFER = (
    ("Sec-WebSocket-Protocol", "hopscope.probe"),
    ("Sec-WebSocket-Extensions", "permessage-deflate"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`host` is the Host that callers send, if it is known; `is_secure`: they come by https.

    `admin` is the sidecar's, None where it does not answer. `paths` says what the stream's and
    the webhook's path become behind the sidecar, by the URL of a hop there.
    """

    options: ProbeOptions
    host: str | None = None
    admin: AdminAddress | None = None
    why_no_admin: str = ""
    trust: Trust | None = None  # None where no hop speaks TLS
    is_secure: bool = True
    wants_proxy_header: bool = False  # the sidecar does (proxy_protocol = true)
    paths: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def authority(self, target: Target) -> str:
        return self.host or target.authority

    def stream_path(self, hop: Hop) -> str:
        return self.paths.get(hop.url, (self.options.stream_path, ""))[0]

    def webhook_path(self, hop: Hop) -> str:
        return self.paths.get(hop.url, ("", self.options.webhook_path))[1]

    def plain_fields(self, target: Target, accept: str) -> Fields:
        """A GET as plain as it gets. Cloudflare's edge says who failed to those who want JSON."""
        return (
            ("Host", self.authority(target)),
            ("User-Agent", USER_AGENT),
            ("Accept", accept),
            ("Connection", "close"),
        )

    def upgrade_fields(self, target: Target, *, offers: bool = False) -> Fields:
        """Twilio's handshake, signed over the public URL where the token is known."""
        authority = self.authority(target)
        path = self.options.stream_path.partition("?")[0]  # Twilio drops the query
        url = f"{'wss' if self.is_secure else 'ws'}://{authority}{path}"
        signature = Signer(self.options.auth_token).sign(url)
        fields = upgrade_fields(replace(target, authority=authority), generate_key(), signature)
        return (*fields, *(OFFER if offers else ()))


def with_probe(fields: Fields, probe_id: str | None, *, echo: bool = False) -> Fields:
    """The fields with an armed id behind them, if there is one."""
    if probe_id is None:
        return fields
    return (*fields, (HEADER, f"{probe_id}; echo" if echo else probe_id))
