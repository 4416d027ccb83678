"""NE: names, addresses and ports, up to the TCP connection."""

from ipaddress import ip_address, ip_network

from doctor.evidence import Fault, Probe, Sight
from doctor.rules import rule
from doctor.rules.causes import own_cause, plaintext_said

# RFC 6598; a tailnet's addresses lie in it.
_TAILNETS = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))


def detail_of(probe: Probe, name: str, *faults: Fault) -> str | None:
    """What a phase says of one of these faults, None where it has none of them."""
    phase = next((phase for phase in probe.phases if phase.name == name), None)
    if phase is None or phase.fault not in faults:
        return None
    return phase.detail or phase.fault.replace("_", " ")


@rule("NE01")
def name_unresolved(probe: Probe) -> str | None:
    """The hop's name has no address.

    Why:
        Nobody can dial a name that DNS does not know: Twilio reports 11210 for the webhook and
        31904 for the stream. A tunnel that was recreated has a new name; a record that was
        just made may be cached as absent for as long as the zone's negative TTL says.
    Evidence:
        The resolver of this machine gave no address for the name in the hop's URL.
    Fix cloudflared:
        cloudflared tunnel route dns TUNNEL voice.example.com
    Fix tailscale:
        tailscale funnel status   # prints the name; Funnel needs HTTPS and MagicDNS enabled
    Fix:
        Create the A, AAAA or CNAME record, or correct the name in hops.toml or in the URL.
    """
    detail = detail_of(probe, "resolve", "unresolved")
    return detail and f"the name of {probe.hop.name} has no address: {detail}"


@rule("NE02")
def connection_refused(probe: Probe) -> str | None:
    """Nothing listens at the hop's address.

    Why:
        The machine answered the connection attempt with a reset: it is up, and no program
        listens on this address and port. The program is down, listens on another port, or on
        another address (127.0.0.1 where ::1 is dialled, or the other way about).
    Evidence:
        connect() to every address of the hop ended in "connection refused".
    Fix gateway:
        Start the gateway, or make it listen where the sidecar dials:
        hopscope gateway --listen 127.0.0.1:8081
    Fix sidecar:
        hopscope proxy --listen 127.0.0.1:8080 --upstream http://127.0.0.1:8081
    Fix nginx:
        listen 443 ssl;         # in the server block; then: nginx -t && nginx -s reload
    Fix:
        Start the program, or correct its port: `ss -ltnp` shows who listens where.
    """
    detail = detail_of(probe, "connect", "refused", "reset")
    return detail and f"{probe.hop.name} does not accept connections: {detail}"


@rule("NE06")
def connect_timeout(probe: Probe) -> str | None:
    """The hop's address does not answer connection attempts.

    Why:
        Silence, where a closed port would refuse: a firewall or security group drops the
        packets, the address belongs to no machine, or the accept queue is full. Twilio waits
        5 s and reports 31901, or 11200 for the webhook.
    Evidence:
        No SYN-ACK came from any of the hop's addresses in time.
    Fix tailscale:
        Funnel listens on 443, 8443 and 10000 only: tailscale funnel --bg --https=443 8080
    Fix:
        Open the port in the firewall, correct the address, or see whether the program accepts.
    """
    detail = detail_of(probe, "connect", "timeout")
    return detail and f"{probe.hop.name} does not answer: {detail}"


@rule("NE07")
def address_unreachable(probe: Probe) -> str | None:
    """There is no route to the hop's address.

    Why:
        The name resolves to an address that cannot be reached from here: a private address, an
        IPv6 address on a machine without IPv6, or a VPN that is down. Twilio reaches public
        addresses only (31904).
    Evidence:
        connect() ended in "no route to host" or "network is unreachable".
    Fix tailscale:
        tailscale up   # 100.x addresses are reachable only from within the tailnet
    Fix:
        Publish an address that is public, or run the doctor where the hop can be reached.
    """
    detail = detail_of(probe, "connect", "unreachable")
    return detail and f"{probe.hop.name} cannot be reached: {detail}"


@rule("NE08")
def plaintext_to_tls(sight: Sight, probe: Probe) -> str | None:
    """Plain HTTP was spoken to a port that wants TLS.

    Why:
        The hop's port speaks TLS and was dialled with http:// or ws://. Its answer is 400 or a
        TLS alert, and nothing is passed on.
    Evidence:
        The text that nginx, Apache and Go write in this case, an alert record (0x15) in place
        of HTTP, or no word at all from a port that then takes a TLS handshake.
    Fix gateway:
        In hopscope.toml: upstream = "http://..." needs a plain port; the gateway's is TLS.
    Fix nginx:
        proxy_pass https://backend;   # in the hop in front, or `listen 443;` without ssl here
    Fix:
        Write https:// in the hop's URL, and dial https:// from the hop in front.
    """
    upgrade = probe.upgrade
    if upgrade is None or probe.hop.url.startswith("https:"):
        return None
    is_alert = upgrade.fault == "not_http" and upgrade.first_bytes.startswith("\\x15")
    said = plaintext_said(upgrade.first_bytes) or plaintext_said(
        upgrade.answer.body if upgrade.answer and upgrade.answer.stamp is None else ""
    )
    if probe.tls is not None:
        return f"{probe.hop.name} was asked in plain HTTP and hung up: its port speaks TLS"
    if is_alert or own_cause(sight) == "plaintext_to_tls" or said:
        sent = "a TLS alert" if is_alert else "that its port wants TLS"
        return f"{probe.hop.name} was asked in plain HTTP and answered {sent}"
    return None


@rule("NE13")
def not_http(probe: Probe) -> str | None:
    """What listens at the hop's address speaks no HTTP.

    Why:
        The port belongs to another program: a database, an SSH server, the media port of a
        SIP stack.
    Evidence:
        The first bytes that came in answer to an upgrade are no status line.
    Fix:
        Correct the port in hops.toml, or in the hop in front; `ss -ltnp` shows who listens.
    """
    upgrade = probe.upgrade
    if upgrade is None or upgrade.fault != "not_http":
        return None
    if upgrade.first_bytes.startswith("\\x15") or plaintext_said(upgrade.first_bytes):
        return None
    return f"{probe.hop.name} answered with what is no HTTP: {upgrade.first_bytes[:80]!r}"


@rule("NE15", level="warning")
def tested_from_inside(probe: Probe) -> str | None:
    """The public name was resolved to an address that only the tailnet knows.

    Why:
        On a machine of the tailnet, MagicDNS answers a Funnel's name with the node's 100.x
        address. What was probed then is Serve, not the public way through Tailscale's relays
        that Twilio takes; a Funnel that is down looks healthy.
    Evidence:
        All addresses of the name lie in 100.64.0.0/10 or fd7a:115c:a1e0::/48.
    Fix:
        Run the doctor outside the tailnet, or give it the public address:
        hopscope doctor --resolve NODE.TAILNET.ts.net:ADDRESS https://NODE.TAILNET.ts.net
        (dig @8.8.8.8 NODE.TAILNET.ts.net prints it)
    """
    if not probe.addresses or not probe.hop.url.startswith("https:"):
        return None
    if probe.hop.kind not in ("tailscale", "other") or ".ts.net" not in probe.hop.url:
        return None
    if not all(_is_tailnet(address) for address in probe.addresses):
        return None
    shown = ", ".join(probe.addresses)
    return f"{probe.hop.name} was probed within the tailnet, at {shown}: Twilio comes another way"


def _is_tailnet(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in network for network in _TAILNETS)
