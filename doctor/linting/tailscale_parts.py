"""Rules of a whole serve configuration: where Funnel is allowed, and what can never be found."""

from collections.abc import Iterator

from doctor.linting.family import Family, Saw
from doctor.linting.nodes import Node
from doctor.linting.tailscale_config import Part, clean

PARTS = Family[Part]()
# What Funnel's relays listen on.
_FUNNEL_PORTS = ("443", "8443", "10000")


@PARTS.rule("TS11", level="warning")
def funnel_port_unusual(part: Part) -> Iterator[Saw]:
    """Funnel listens on 8443 or 10000.

    Why:
        Twilio documents port 443 for wss; its errors 31901 and 31910 speak of no other.
    Fix:
        Use --https=443
    """
    for key, port, node in _allowed(part):
        if port in _FUNNEL_PORTS and port != "443":
            yield part.saw(node, f"AllowFunnel has {key}")


@PARTS.rule("TS12")
def funnel_port_refused(part: Part) -> Iterator[Saw]:
    """Funnel is allowed on a port that the relays do not carry.

    Why:
        They listen on 443, 8443 and 10000.
    Fix:
        Use --https=443
    """
    for key, port, node in _allowed(part):
        if port not in _FUNNEL_PORTS:
            yield part.saw(node, f"AllowFunnel has {key}")


@PARTS.rule("TS13")
def funnel_without_handler(part: Part) -> Iterator[Saw]:
    """Funnel is allowed where nothing is served.

    Why:
        tailscaled refuses the connection: the client sees it closed, or a TLS alert.
    Fix:
        tailscale funnel reset, then serve and allow in one step: tailscale funnel --bg 8080
    """
    for key, port, node in _allowed(part):
        tcp = part.node["TCP"][port]
        is_served = tcp["TCPForward"].text or (tcp and part.node["Web"][key]["Handlers"].fields)
        if port in _FUNNEL_PORTS and not is_served:
            yield part.saw(node, f"AllowFunnel has {key}, and nothing is served there")


@PARTS.rule("TS14", level="warning")
def foreground_only(part: Part) -> Iterator[Saw]:
    """It is served only as long as a terminal stays open.

    Why:
        Without --bg the mounts vanish with Ctrl-C, a logout or a restart.
    Fix:
        Add --bg
    """
    if part.is_foreground:
        yield part.saw(part.node, "the mounts stand under Foreground")


@PARTS.rule("TS20", level="warning")
def mount_never_matches(part: Part) -> Iterator[Saw]:
    """A mount that no request finds.

    Why:
        Mounts are compared with clean, decoded paths: one with //, a dot segment or %XX never
        matches, and one without a leading slash neither.
    Fix:
        Mount the clean path.
    """
    for server in part.servers():
        for mount, handler in server.mounts.items():
            is_clean = clean(mount) == (mount.rstrip("/") or "/")
            if not mount.startswith("/") or "%" in mount or not is_clean:
                yield part.saw(handler, f"a mount is {mount!r}")


@PARTS.rule("TS21")
def funnel_without_tls(part: Part) -> Iterator[Saw]:
    """Funnel is allowed on a port that speaks plain HTTP.

    Why:
        Funnel carries TLS only, chosen by its SNI. The handshake fails.
    Fix:
        tailscale funnel --bg --https=443 8080
    """
    for key, port, node in _allowed(part):
        if part.node["TCP"][port]["HTTP"].is_true:
            yield part.saw(node, f"AllowFunnel has {key}, and TCP {port} is HTTP")


def _allowed(part: Part) -> Iterator[tuple[str, str, Node]]:
    for key, node in part.node["AllowFunnel"].items():
        if node.is_true:
            yield key, key.rpartition(":")[2], node
