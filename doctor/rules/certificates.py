"""NE: the TLS handshake, as a client sees it."""

from doctor.evidence import Probe, Sight, Tls
from doctor.rules import rule
from doctor.rules.causes import client_certificate_said, own_cause
from doctor.rules.names import detail_of

SOON_DAYS = 7.0
_NAME_ALERTS = ("unrecognized name", "unrecognized_name", "internal error", "internal_error")
_CLIENT_ALERTS = ("certificate required", "certificate_required", "bad certificate")


@rule("NE03")
def certificate_rejected(probe: Probe) -> str | None:
    """The hop's certificate would be rejected by Twilio.

    Why:
        Twilio verifies certificates as a browser does and has no switch for it at a stream:
        31910, and 11235 to 11237 for the webhook. A chain without its intermediate certificate
        works in browsers, which remember it, and nowhere else.
    Evidence:
        Verification failed; the certificate was read all the same.
    Fix nginx:
        ssl_certificate     /etc/letsencrypt/live/NAME/fullchain.pem;   # not cert.pem
        ssl_certificate_key /etc/letsencrypt/live/NAME/privkey.pem;
    Fix haproxy:
        bind :443 ssl crt /etc/haproxy/NAME.pem   # key, certificate and intermediates in one file
    Fix apache:
        SSLCertificateFile /etc/letsencrypt/live/NAME/fullchain.pem
    Fix caddy:
        Name the site by its public name: Caddy then gets a certificate by itself.
    Fix traefik:
        tls: { certResolver: letsencrypt }   # on the router, with Host(`NAME`) in its rule
    Fix tailscale:
        tailscale cert NAME.TAILNET.ts.net   # HTTPS must be enabled for the tailnet
    Fix:
        Renew it, for this name, and send the whole chain (fullchain.pem).
    """
    faults = ("certificate_expired", "certificate_name", "certificate_untrusted")
    phase = probe.phase("tls")
    if phase is None or phase.fault not in faults:
        return None
    tls = probe.tls
    if phase.fault == "certificate_expired":
        ended = f" ended on {tls.not_after[:10]}" if tls and tls.not_after else " has expired"
        return f"the certificate of {probe.hop.name}{ended}: {phase.detail}"
    if phase.fault == "certificate_name":
        names = ", ".join(tls.names) if tls and tls.names else "another name"
        return f"the certificate of {probe.hop.name} is for {names}: {phase.detail}"
    alone = tls is not None and tls.chain_length == 1
    chain = " (it came alone, without an intermediate)" if alone else ""
    return f"the certificate of {probe.hop.name} is not trusted: {phase.detail}{chain}"


@rule("NE04")
def http2_negotiated(probe: Probe) -> str | None:
    """The hop speaks HTTP/2 and nothing else.

    Why:
        A WebSocket begins with an HTTP/1.1 Upgrade. HTTP/2 has no Upgrade (RFC 9113 section
        8.6), and few servers support its own way (RFC 8441). Twilio comes with HTTP/1.1.
    Evidence:
        ALPN http/1.1 was refused or ignored, or the first bytes were HTTP/2 frames.
    Fix haproxy:
        bind :443 ssl crt NAME.pem alpn h2,http/1.1
    Fix envoy:
        codec_type: AUTO
        common_tls_context: { alpn_protocols: ["h2", "http/1.1"] }
    Fix nginx:
        listen 443 ssl;   # a plain `listen 80 http2;` speaks HTTP/2 only
    Fix:
        Let the port speak HTTP/1.1, too: ALPN h2,http/1.1.
    """
    phase = probe.phase("tls")
    negotiated = probe.tls is not None and probe.tls.alpn == "h2"
    said = phase is not None and phase.fault == "http2"
    spoke = probe.upgrade is not None and probe.upgrade.fault == "http2"
    if not (negotiated or said or spoke):
        return None
    how = "chose h2 in the TLS handshake" if negotiated or said else "answered in HTTP/2 frames"
    return f"{probe.hop.name} speaks HTTP/2 only: it {how}, and an Upgrade needs HTTP/1.1"


@rule("NE05")
def tls_to_plaintext(probe: Probe) -> str | None:
    """TLS was spoken to a port that speaks plain HTTP.

    Why:
        The hop's URL says https:// (or wss://), and its port is plain. Clients report
        WRONG_VERSION_NUMBER; Twilio 31910.
    Evidence:
        The ClientHello was answered with bytes that are no TLS record.
    Fix nginx:
        listen 443 ssl;
        ssl_certificate fullchain.pem; ssl_certificate_key privkey.pem;
    Fix haproxy:
        bind :443 ssl crt /etc/haproxy/NAME.pem
    Fix tailscale:
        tailscale funnel --bg --https=443 http://127.0.0.1:8080   # --tcp ends no TLS
    Fix:
        Dial the TLS port (443), or write http:// in hops.toml where no TLS is meant.
    """
    detail = detail_of(probe, "tls", "plaintext")
    return detail and f"{probe.hop.name} speaks no TLS on this port: {detail}"


@rule("NE09")
def server_name_unknown(probe: Probe) -> str | None:
    """The hop has no certificate for the name that was asked.

    Why:
        Several names share an address, and the TLS handshake names the one that is wanted
        (SNI). A hop without a site for it answers with the alert unrecognized_name; tailscaled
        with internal_error where the name is not this node's or HTTPS is off.
    Evidence:
        The TLS handshake was ended by that alert.
    Fix nginx:
        server_name voice.example.com;   # in the block that has the certificate
    Fix caddy:
        voice.example.com { reverse_proxy 127.0.0.1:8080 }
    Fix tailscale:
        tailscale funnel status          # the name must be this node's, HTTPS enabled
    Fix envoy:
        filter_chain_match: { server_names: ["voice.example.com"] }
    Fix:
        Add the name to the site and to its certificate.
    """
    detail = detail_of(probe, "tls", "tls_alert")
    if detail is None or not any(alert in detail.lower() for alert in _NAME_ALERTS):
        return None
    return f"{probe.hop.name} has no certificate for this name: the handshake ended in {detail!r}"


@rule("NE10")
def client_certificate_required(sight: Sight, probe: Probe) -> str | None:
    """The hop wants a certificate from its clients.

    Why:
        Twilio offers none. Mutual TLS is right between the hops, not on the paths that Twilio
        asks for.
    Evidence:
        nginx's 400 "No required SSL certificate was sent", or the TLS alert
        certificate_required.
    Fix nginx:
        ssl_verify_client optional;   # and ask for $ssl_client_verify in other locations
    Fix haproxy:
        bind :443 ssl crt NAME.pem ca-file ca.pem verify optional
    Fix apache:
        SSLVerifyClient none          # within <Location /voice/>
    Fix envoy:
        require_client_certificate: false
    Fix caddy:
        tls { client_auth { mode verify_if_given } }
    Fix traefik:
        tls: { options: { default: { clientAuth: { clientAuthType: VerifyClientCertIfGiven } } } }
    Fix:
        Exempt the paths that Twilio asks for.
    """
    alert = detail_of(probe, "tls", "tls_alert") or _alert_later(probe)
    if any(word in alert.lower() for word in _CLIENT_ALERTS):
        return f"{probe.hop.name} wants a client certificate: the handshake ended in {alert!r}"
    body = probe.upgrade.answer.body if probe.upgrade and probe.upgrade.answer else ""
    if own_cause(sight) == "client_certificate" or client_certificate_said(body):
        return f"{probe.hop.name} wants a client certificate and says so with 400"
    return None


def _alert_later(probe: Probe) -> str:
    """TLS 1.3 tells only behind the handshake that a client's certificate is missing."""
    broken = probe.broken
    late = broken is not None and broken.name in ("request", "response")
    return broken.detail if broken is not None and late and probe.tls is not None else ""


@rule("NE11")
def tls_cut(probe: Probe) -> str | None:
    """The connection ended within the TLS handshake, without a word.

    Why:
        What accepts the connection is not what ends TLS: a relay or a TCP balancer that has
        nobody behind it. Tailscale's relays do this when the node has no Funnel for the name,
        or its daemon lost the control server, while `tailscale funnel status` looks healthy.
    Evidence:
        TCP was accepted; EOF, a reset or silence followed the ClientHello.
    Fix tailscale:
        tailscale funnel reset && tailscale funnel --bg 8080   # tailscaled 1.102.2 or later
        (a later `tailscale serve` on the same port turns Funnel off; --tcp ends no TLS, and
        behind --tls-terminated-tcp something must listen)
    Fix haproxy:
        bind :443 ssl crt NAME.pem    # `mode tcp` passes TLS on: is there a server behind it?
    Fix:
        See that the program behind the relay or balancer runs and speaks TLS.
    """
    detail = detail_of(probe, "tls", "tls_eof", "timeout", "reset", "eof")
    return detail and f"{probe.hop.name} accepts connections and shakes no hands: {detail}"


@rule("NE12")
def tls_refused(probe: Probe) -> str | None:
    """The hop refused the TLS handshake.

    Why:
        The two have no TLS version, cipher or application protocol in common. Twilio speaks
        TLS 1.2 and 1.3 with current ciphers.
    Evidence:
        The handshake ended in an alert that is about neither names nor client certificates.
    Fix nginx:
        ssl_protocols TLSv1.2 TLSv1.3;
    Fix haproxy:
        ssl-default-bind-options ssl-min-ver TLSv1.2
    Fix apache:
        SSLProtocol -all +TLSv1.2 +TLSv1.3
    Fix:
        Enable TLS 1.2 and 1.3, and ALPN http/1.1.
    """
    detail = detail_of(probe, "tls", "tls_alert")
    if detail is None or any(word in detail.lower() for word in (*_NAME_ALERTS, *_CLIENT_ALERTS)):
        return None
    return f"{probe.hop.name} refused the TLS handshake: {detail}"


@rule("NE14", level="warning")
def certificate_ending(probe: Probe, tls: Tls) -> str | None:
    """The hop's certificate ends within a week.

    Why:
        Certificates of 90 days are renewed a month before they end. One that is not has a
        renewal that fails, and every call fails when it ends.
    Evidence:
        Its notAfter.
    Fix caddy:
        caddy reload   # and read its log: it renews by itself unless something prevents it
    Fix tailscale:
        tailscale cert NAME.TAILNET.ts.net
    Fix:
        certbot renew --dry-run   # says why it was not renewed
    """
    phase = probe.phase("tls")
    if tls.days_left is None or (phase is not None and phase.fault):
        return None
    if not 0 <= tls.days_left < SOON_DAYS:
        return None
    return f"the certificate of {probe.hop.name} ends on {tls.not_after[:10]}"
