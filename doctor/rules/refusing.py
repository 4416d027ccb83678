"""HS: hops that answer an upgrade themselves, where no rule of routing or policy knows better."""

import re

from doctor.evidence import Answer, Sight
from doctor.rules import rule
from doctor.rules.causes import own_cause
from doctor.rules.makers import maker_of
from doctor.rules.ways import gateway_answer, is_repeated, unasked

SHOWN_PAGE = 60
_TAG = re.compile(r"<[^>]*>")


@rule("HS04")
def redirected(sight: Sight, answer: Answer) -> str | None:
    """The hop redirects the upgrade.

    Why:
        Clients of WebSockets do not follow redirects, and Twilio reports 31920. The usual
        causes: http:// is redirected to https://, or a slash is added or taken away. In a
        loop: Cloudflare in SSL mode Flexible asks the origin by http, which redirects to
        https.
    Evidence:
        A 3xx with a Location came in answer to the upgrade.
    Fix nginx:
        Exempt the path in the server that listens on 80, or advertise wss:// only:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    Fix haproxy:
        http-request redirect scheme https unless { ssl_fc } or { path_beg /voice/ }
    Fix apache:
        RewriteCond %{HTTP:Upgrade} !=websocket [NC]   # before the RewriteRule to https
    Fix caddy:
        Name the site with its scheme (http://...) where TLS ends in front of Caddy.
    Fix traefik:
        Take redirectScheme off this router, or off the entry point.
    Fix envoy:
        Remove https_redirect from the route, or x-forwarded-proto: https in front of it.
    Fix cloudflared:
        SSL/TLS mode Full (strict), and no redirect in the origin
    Fix:
        Give Twilio the URL that is redirected to, with its scheme, name and slash.
    """
    if own_cause(sight) != "redirected":
        given = gateway_answer(sight)
        if given is None or not 300 <= given.status < 400 or is_repeated(sight):
            return None
    location = answer.value("Location") or "nowhere"
    return f"{sight.probe.hop.name} redirects the upgrade to {location} ({answer.status})"


@rule("HS05")
def answered_before_sidecar(sight: Sight, answer: Answer) -> str | None:
    """The hop answered the upgrade itself, and the sidecar was never asked.

    Why:
        The hop found a reason of its own not to pass the request on. Its log says which. A 503
        with a page that is not the program's own is mostly a maintenance page; it may also be
        an error page that was set up for an upstream that is down.
    Evidence:
        The answer does not carry the sidecar's stamp, and the sidecar has no record of the
        probe.
    Fix haproxy:
        Remove `http-request return status 503` or `errorfile 503`, or see whether the server is
        up: echo "show servers state" | socat - SOCKET
    Fix caddy:
        Remove `respond ... 503`; with handle_errors, see in the log what the upstream said.
    Fix:
        Look into the hop's own log at the time of the probe.
    """
    if own_cause(sight) != "other":
        return None
    maker = maker_of(answer)
    by = f" (in the words of {maker})" if maker and maker != "go" else _page(answer)
    return (
        f"{sight.probe.hop.name} answered {answer.status} {answer.reason} itself{by}: "
        f"{unasked(sight)}"
    )


def _page(answer: Answer) -> str:
    """What a 503 in nobody's words leaves open."""
    said = " ".join(_TAG.sub(" ", answer.body).split())[:SHOWN_PAGE]
    if answer.status != 503 or not said:
        return ""
    return f" with a page of its own, for maintenance or for an upstream that is down ({said!r})"


@rule("HS15")
def upgrade_not_enabled(sight: Sight, answer: Answer) -> str | None:
    """The hop refuses upgrades, and nothing but upgrades.

    Why:
        Envoy forwards an Upgrade only where the type is enabled, for the connection manager or
        the route; else it answers 403 with an empty body (upgrade_failed). cloudflared fails at
        every upgrade on a Unix socket while its link to Cloudflare is HTTP/2 ("http: no Host in
        request URL", cloudflared#560).
    Evidence:
        Envoy's empty 403 or Cloudflare's 502 to the upgrade, while the same path without Upgrade
        passes.
    Fix envoy:
        upgrade_configs: [{ upgrade_type: websocket }]   # beside route_config
        and, where the route switches it off: upgrade_configs: [{ upgrade_type: websocket,
        enabled: true }]
    Fix cloudflared:
        service: http://127.0.0.1:8080           # in place of unix:, or --protocol quic
    Fix:
        Enable upgrades to websocket.
    """
    if own_cause(sight) != "upgrade_not_enabled":
        return None
    return (
        f"{sight.probe.hop.name} does not have upgrades to websocket enabled: it answered "
        f"{answer.status} to the upgrade, and not to the same path without one"
    )
