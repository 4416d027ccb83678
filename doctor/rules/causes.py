"""Why a hop answered an upgrade itself: one cause for one answer, so that one rule fires.

The cause is read from status, fields and body. It is not asked who made them: that is
`ways.own_answer`.
"""

import re
from typing import Literal

from doctor.evidence import Answer, Exchange, Sight
from doctor.rules.makers import is_in_words_of_haproxy, maker_of
from doctor.rules.ways import own_answer

Cause = Literal[
    "plaintext_to_tls",
    "client_certificate",
    "head_too_large",
    "challenged",
    "interstitial",
    "tunnel_down",
    "tunnel_limit",
    "login",
    "redirected",
    "forbidden",
    "upgrade_not_enabled",
    "turned_away",
    "no_route",
    "refused",
    "empty_ok",
    "page",
    "upstream",
    "upstream_timeout",
    "other",
]
# What servers say to plain HTTP on a TLS port: nginx (400, 497), Apache, Go's net/http.
_PLAINTEXT = re.compile(
    r"plain HTTP request was sent to HTTPS port"
    r"|speaking plain HTTP to an SSL-enabled server port"
    r"|Client sent an HTTP request to an HTTPS server",
    re.IGNORECASE,
)
_CLIENT_CERTIFICATE = re.compile(
    r"No required SSL certificate was sent|The SSL certificate error", re.IGNORECASE
)
_TOO_LARGE = re.compile(
    r"Header Or Cookie Too Large|header field exceeds server limit|Header Fields Too Large"
    r"|Request-URI Too Large",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"/cdn-cgi/access/login|cloudflareaccess\.com|/oauth2?/|/login\b|/signin\b|/sign_in\b"
    r"|/authorize\b|/sso/",
    re.IGNORECASE,
)
_NGROK = re.compile(r"ERR_NGROK_(\d+)")
_NGROK_CAUSES: dict[int, Cause] = {
    3004: "upstream",  # invalid or incomplete response: http to a TLS port
    3200: "tunnel_down",  # the endpoint is offline
    6024: "interstitial",
    725: "tunnel_limit",
    726: "tunnel_limit",
    727: "tunnel_limit",
    8012: "upstream",  # connection refused by the upstream
}
# Cloudflare's own codes, in a 530 (developers.cloudflare.com/support/troubleshooting).
_TUNNEL_DOWN = re.compile(r"\b(?:1033|1016)\b")
_TIMEOUTS = (504, 522, 524)
_UPSTREAM = (502, 520, 521, 523, 525, 526)


def plaintext_said(text: str) -> bool:
    """Whether a text is what a TLS port says to plain HTTP."""
    return bool(_PLAINTEXT.search(text))


def client_certificate_said(text: str) -> bool:
    return bool(_CLIENT_CERTIFICATE.search(text))


def own_cause(sight: Sight) -> Cause | None:
    """Why this hop answered by itself, or None where it did not."""
    answer = own_answer(sight)
    if answer is None:
        return None
    cause = cause_of(answer, sight.probe.plain)
    if answer.status != 503:
        return cause
    if cause == "other" and sight.probe.hop.kind == "nginx":
        return "turned_away"  # with a page of one's own it is still no word about its upstreams
    # HAProxy's 503 is also what it says where no rule chose a backend.
    is_of_haproxy = cause == "upstream" and maker_of(answer) == "haproxy"
    return "no_route" if is_of_haproxy and _is_passed_by_webhook(sight) else cause


def _is_passed_by_webhook(sight: Sight) -> bool:
    webhook = sight.probe.webhook
    if webhook is None or sight.webhook_path == sight.stream_path:
        return False
    return bool(webhook.arrivals) or (
        webhook.answer is not None and webhook.answer.stamp is not None
    )


def cause_of(answer: Answer, plain: Exchange | None) -> Cause:
    """Why an answer was given. `plain` is the same path asked without an upgrade."""
    return _by_text(answer) or _by_status(answer, plain)


def _by_text(answer: Answer) -> Cause | None:
    body = answer.body
    code = _NGROK.search(f"{answer.value('ngrok-error-code') or ''} {body}")
    if code is not None:
        return _NGROK_CAUSES.get(int(code[1]), "other")
    if answer.value("cf-mitigated") is not None:
        return "challenged"
    if maker_of(answer) == "cloudflare" and (answer.status == 530 or _TUNNEL_DOWN.search(body)):
        return "tunnel_down"
    if plaintext_said(body):
        return "plaintext_to_tls"
    if client_certificate_said(body):
        return "client_certificate"
    return "head_too_large" if _TOO_LARGE.search(body) or answer.status in (414, 431) else None


def _by_status(answer: Answer, plain: Exchange | None) -> Cause:
    status = answer.status
    if maker_of(answer) == "cloudflared" and status != 403:
        return "no_route"
    if 300 <= status < 400:
        return "login" if _LOGIN.search(answer.value("Location") or "") else "redirected"
    if status in (401, 407):
        return "login"
    if _is_by_upgrade(answer, plain):
        return "upgrade_not_enabled"
    if status == 403:
        return "forbidden"
    if status == 429:
        return "turned_away"
    if status == 503:
        return _by_503(answer)
    if status in (404, 410, 421):
        return "no_route"
    if 400 <= status < 500:
        return "refused"
    if 200 <= status < 300:
        return "page" if answer.body.strip() else "empty_ok"
    if status in _TIMEOUTS:
        return "upstream_timeout"
    return "upstream" if status in _UPSTREAM else "other"


def _by_503(answer: Answer) -> Cause:
    """A proxy says 503 of its upstreams in its own words, and people say it with pages of theirs.

    Such a page may stand in for either: that it is the hop's own answer is all that it shows.
    """
    maker = maker_of(answer)
    if maker is None:
        return "upstream" if is_in_words_of_haproxy(answer) else "other"
    return "turned_away" if maker == "nginx" else "upstream"  # nginx says 502 and 504 of those


def _is_by_upgrade(answer: Answer, plain: Exchange | None) -> bool:
    """Envoy's empty 403, or Cloudflare's 502, where the same path without an upgrade passes.

    An authorization filter of Envoy's writes an empty 403, too, but to both.
    """
    if plain is None or plain.answer is None:
        return False
    maker = maker_of(answer)
    if maker == "envoy":
        return answer.status == 403 and not answer.body and plain.answer.status != 403
    return maker == "cloudflare" and answer.status == 502 and bool(plain.arrivals)
