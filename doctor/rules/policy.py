"""PO: the hop keeps the request out: rules, limits, logins, tunnels that are closed."""

from doctor.evidence import Answer, Sight
from doctor.rules import rule
from doctor.rules.causes import own_cause
from doctor.rules.makers import maker_of


def _itself(sight: Sight, answer: Answer) -> str:
    return f"{sight.probe.hop.name} answered {answer.status} {answer.reason}".strip() + " itself"


@rule("PO01")
def forbidden(sight: Sight, answer: Answer) -> str | None:
    """A rule of the hop forbids the request.

    Why:
        An allow-list of addresses, a User-Agent or method rule, a web application firewall.
        Twilio comes from changing addresses of AWS, with User-Agent Twilio.TmeWs/1.0, without
        cookies and without an Origin: no list of addresses can hold, a signature does.
    Evidence:
        The hop's own 403; nothing arrived at the sidecar.
    Fix nginx:
        location /voice/ {
            allow all;
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    Fix haproxy:
        http-request deny if bad !{ path_beg /voice/ }
    Fix apache:
        <Location /voice/>
            Require all granted
        </Location>
    Fix traefik:
        Take ipAllowList off this router.
    Fix caddy:
        A matcher with remote_ip must not cover /voice/*.
    Fix envoy:
        typed_per_filter_config: { envoy.filters.http.rbac: { disabled: true } }  # on the route
    Fix cloudflared:
        WAF custom rule: skip all remaining rules when URI path starts with /voice/
        originRequest: { access: { required: false } }   # an empty 403 is cloudflared's own
    Fix:
        Exempt the webhook's and the stream's path; the gateway checks Twilio's signature.
    """
    if own_cause(sight) != "forbidden":
        return None
    return f"{_itself(sight, answer)}: a rule of its own keeps the upgrade out"


@rule("PO02")
def login_required(sight: Sight, answer: Answer) -> str | None:
    """The hop wants a login.

    Why:
        Basic authentication, auth_request, oauth2-proxy, Cloudflare Access: Twilio has no
        session there. (A user and password in the webhook's URL would be sent, not at a
        stream.)
    Evidence:
        401, 407 or a redirect to a page for logging in, made by the hop itself.
    Fix nginx:
        location /voice/ {
            auth_request off;
            auth_basic off;
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    Fix apache:
        <Location /voice/>
            AuthType None
            Require all granted
        </Location>
    Fix haproxy:
        http-request auth unless { path_beg /voice/ }
    Fix caddy:
        handle /voice/* { reverse_proxy 127.0.0.1:8080 }   # outside basic_auth, forward_auth
    Fix traefik:
        A router of its own for PathPrefix(`/voice/`), without basicAuth or forwardAuth.
    Fix cloudflared:
        Access: a Bypass policy for /voice/, or originRequest.access.required: false
    Fix:
        Exempt the webhook's and the stream's path; the gateway checks Twilio's signature.
    """
    if own_cause(sight) != "login":
        return None
    where = answer.value("Location") or answer.value("WWW-Authenticate")
    return f"{_itself(sight, answer)}: it wants a login{f' ({where})' if where else ''}"


@rule("PO03")
def challenged(sight: Sight, answer: Answer) -> str | None:
    """Cloudflare challenges the caller to prove that it is a person.

    Why:
        Bot Fight Mode, Under Attack mode or a WAF rule asks for JavaScript or a click. Twilio
        is a program and answers neither.
    Evidence:
        A cf-mitigated field on the answer.
    Fix cloudflared:
        Security, WAF: a skip rule for URI path starts with /voice/ (it must skip Super Bot
        Fight Mode, too; plain Bot Fight Mode cannot be skipped and must be off).
    Fix:
        Exempt the webhook's and the stream's path from challenges.
    """
    if own_cause(sight) != "challenged":
        return None
    return f"{_itself(sight, answer)}: cf-mitigated: {answer.value('cf-mitigated')}"


@rule("PO04")
def turned_away(sight: Sight, answer: Answer) -> str | None:
    """The hop turns requests away for now.

    Why:
        A limit is reached, or a maintenance page was left on. A limit for each client's
        address counts all calls as one client: they come from a few addresses of Twilio's, or
        from one tunnel. nginx says 503 for its limits (unless limit_req_status says 429) and
        for `return 503`, and in the same words.
    Evidence:
        The hop's own 429, or nginx's own 503, which is never about its upstreams.
    Fix nginx:
        limit_req zone=calls burst=50 nodelay;   # error.log: "limiting requests"
        limit_conn calls 1000;                   # a stream holds one for the whole call
        or remove the `return 503`
    Fix haproxy:
        http-request deny deny_status 429 if too_fast !{ path_beg /voice/ }
    Fix traefik:
        rateLimit: { average: 100, burst: 200 }  # or off this router
    Fix envoy:
        local_ratelimit: a larger token_bucket, or off for this route
    Fix cloudflared:
        Security, WAF, rate limiting rules: exempt /voice/
    Fix:
        Raise the limit, or exempt the webhook's and the stream's path.
    """
    if own_cause(sight) != "turned_away":
        return None
    if answer.status == 429:
        return f"{_itself(sight, answer)}: a limit is reached"
    return f"{_itself(sight, answer)}: a limit is reached, or it was told to for maintenance"


@rule("PO05")
def head_too_large(sight: Sight, answer: Answer) -> str | None:
    """The request's head is longer than the hop allows.

    Why:
        Tokens in the path or in headers that a hop in front adds make heads grow.
    Evidence:
        431 or 414, or a 400 that says so, made by the hop itself.
    Fix nginx:
        large_client_header_buffers 4 16k;   # in http or in the default server of the port
    Fix haproxy:
        tune.bufsize 32768                   # in global
    Fix apache:
        LimitRequestFieldSize 16384
    Fix envoy:
        max_request_headers_kb: 96
    Fix:
        Allow longer heads, or send shorter tokens.
    """
    if own_cause(sight) != "head_too_large":
        return None
    return f"{_itself(sight, answer)}: the head of the request is too long for it"


@rule("PO06")
def request_refused(sight: Sight, answer: Answer) -> str | None:
    """The hop refuses the request as such.

    Why:
        The hop finds the request malformed, or its method not allowed: a strict check of the
        WebSocket fields, a rule for methods, a filter for headers.
    Evidence:
        A 4xx of the hop's own that none of the other rules explains; nothing arrived at the
        sidecar.
    Fix haproxy:
        option accept-invalid-http-request   # the log says PR-- and <BADREQ>
    Fix nginx:
        error_log ... info;                  # says what was wrong: "client sent invalid ..."
    Fix envoy:
        access_log: %RESPONSE_CODE_DETAILS% says which check failed.
    Fix:
        Look into the hop's own log at the time of the probe.
    """
    if own_cause(sight) != "refused":
        return None
    return f"{_itself(sight, answer)}: it does not pass this request on"


@rule("PO07")
def interstitial(sight: Sight, answer: Answer) -> str | None:
    """The tunnel shows a warning page first.

    Why:
        ngrok's free plan shows browsers a page before the site (ERR_NGROK_6024). Programs are
        spared by their User-Agent or by a header that Twilio does not send.
    Evidence:
        The page's error code.
    Fix:
        Use a plan without the page, or another tunnel; a person may send
        `ngrok-skip-browser-warning: 1`, Twilio cannot.
    """
    if own_cause(sight) != "interstitial":
        return None
    code = answer.value("ngrok-error-code") or "ERR_NGROK_6024"
    return f"{_itself(sight, answer)}: the tunnel's warning page ({code})"


@rule("PO08")
def tunnel_down(sight: Sight, answer: Answer) -> str | None:
    """The tunnel's edge has no agent behind it.

    Why:
        The edge of the tunnel answers, and the agent on your machine is not connected: it is
        down, its credentials are revoked, or UDP and TCP 7844 do not get out (cloudflared).
    Evidence:
        ERR_NGROK_3200, or Cloudflare's 530 with 1033 or 1016.
    Fix cloudflared:
        cloudflared tunnel run TUNNEL        # its log: "Registered tunnel connection"
        cloudflared tunnel info TUNNEL
    Fix:
        Start the tunnel's agent; see that it may connect out.
    """
    if own_cause(sight) != "tunnel_down":
        return None
    code = answer.value("ngrok-error-code") or f"by {maker_of(answer)}"
    return f"{_itself(sight, answer)}: the tunnel has no agent connected ({code})"


@rule("PO09")
def tunnel_limit(sight: Sight, answer: Answer) -> str | None:
    """The tunnel's account has used up what it may.

    Why:
        ngrok counts requests, connections and bytes (ERR_NGROK_725 to 727). A call is about
        50 MB an hour each way and one connection.
    Evidence:
        The error code on the answer.
    Fix:
        Another plan, or another tunnel.
    """
    if own_cause(sight) != "tunnel_limit":
        return None
    return f"{_itself(sight, answer)}: {answer.value('ngrok-error-code') or 'its limit is reached'}"
