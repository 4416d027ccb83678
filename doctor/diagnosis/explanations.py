"""What one recorded handshake says by itself, without a probe (pure).

A sidecar's record shows one side only: which fields arrived, who answered. Where that is enough to
name the rule, its page is the explanation; where it is not, nothing is explained, and the doctor's
probes must tell.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from doctor.evidence import HopKind
from doctor.rules import RULES

Row = Mapping[str, Any]


class Explanation(TypedDict):
    """`fix` is for the ingress that the record names, or for any."""

    rule: str
    slug: str
    defect: str
    why: str
    fix: str


# In the order in which a handshake is bent: what took Upgrade away matters more than its version.
_BY_FIELD = (
    ("Upgrade", "HS01"),
    ("Connection", "HS02"),
    ("HTTP version", "HS03"),
    ("Sec-WebSocket-Key", "HS11"),
    ("Sec-WebSocket-Version", "HS18"),
)
_BY_OUTCOME = {"unreachable": "UP07", "timeout": "AN09", "upstream_closed": "AN10"}
_BY_ANSWER_FIELD = (
    ("Sec-WebSocket-Accept", "HS06"),
    ("Upgrade", "AN01"),
    ("Connection", "AN01"),
    ("Sec-WebSocket-Protocol", "AN03"),
    ("Sec-WebSocket-Extensions", "AN03"),
    ("Content-Encoding", "AN02"),
    ("Transfer-Encoding", "AN02"),
    ("Content-Length", "AN02"),
)
_OF_REQUESTS = "4.2.1"  # the section of RFC 6455 that a server reads a request by
_KINDS: Mapping[str, HopKind] = {
    "cloudflare": "cloudflared",
    "tailscale-funnel": "tailscale",
    "tailscale-serve": "tailscale",
    "nginx": "nginx",
    "caddy": "caddy",
    "haproxy": "haproxy",
    "traefik": "traefik",
    "envoy": "envoy",
    "apache": "apache",
}
# What is not the ingress's to mend: the gateway's answers, the sidecar's routes and upstream.
_OWN: Mapping[str, HopKind] = {"AN": "gateway", "RO": "sidecar", "UP": "gateway"}


def explain(row: Row) -> Explanation | None:
    """The explanation of a `handshake` row of the sidecar; None where it is healthy or unclear."""
    rule_id = _rule_of(row)
    if rule_id is None:
        return None
    found = RULES[rule_id]
    page = found.page
    kind = _OWN.get(rule_id[:2]) or _KINDS.get(row.get("ingress") or "", "other")
    return Explanation(
        rule=found.id,
        slug=found.slug,
        defect=page.defect,
        why=page.why,
        fix=page.fix_for(kind),
    )


def _rule_of(row: Row) -> str | None:
    outcome, status = row.get("outcome"), row.get("status")
    if outcome in _BY_OUTCOME:
        return _BY_OUTCOME[outcome]
    if outcome == "malformed":
        # An answer that is no HTTP is the gateway's; a head that is none came from in front.
        return None if row.get("upstream") else "UP09"
    if row.get("error") == "destination_not_found":
        return "RO06"
    if row.get("error") is not None:
        return None  # a limit of the sidecar's: its reason says it all
    bent = _first(_BY_FIELD, row, lambda section: section == _OF_REQUESTS)
    if outcome == "upgraded":
        crooked = _first(_BY_ANSWER_FIELD, row, lambda section: section != _OF_REQUESTS)
        return crooked or (bent and "HS12")
    if outcome == "refused" and isinstance(status, int):
        return bent or _by_status(status)
    return bent if outcome == "not_an_upgrade" else None


def _first(
    known: Sequence[tuple[str, str]], row: Row, is_meant: Callable[[str], bool]
) -> str | None:
    violations = row.get("violations") or []
    fields = {item["field"] for item in violations if is_meant(item["section"])}
    return next((rule_id for field, rule_id in known if field in fields), None)


def _by_status(status: int) -> str | None:
    if status == 404:
        return "AN04"
    if status < 300:
        return "AN05"
    if status >= 500:
        return "AN06"
    return "AN07" if status >= 400 else None
