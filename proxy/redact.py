"""What may be written down about a head: names always, values only where they cannot be secret.

An allow-list, because a deny-list of secret headers is never complete: a field that is not on it
is reported as present, and its value is not kept anywhere.
"""

import re

from proxy.http1 import TOKEN, Fields

_SHOWN = frozenset(
    """
    accept accept-encoding accept-language access-control-request-method age allow alt-svc
    cache-control cdn-loop cf-cache-status cf-connecting-ip cf-ipcountry cf-mitigated cf-ray
    cf-visitor cf-warp-tag-id connection content-encoding content-length content-type date expect
    forwarded host i-twilio-idempotency-token keep-alive ngrok-error-code origin proxy-connection
    proxy-status retry-after sec-websocket-accept sec-websocket-extensions sec-websocket-key
    sec-websocket-protocol sec-websocket-version server tailscale-funnel-request
    tailscale-headers-info te trailer transfer-encoding upgrade user-agent vary via
    x-content-type-options x-envoy-attempt-count x-envoy-expected-rq-timeout-ms
    x-envoy-external-address x-envoy-internal x-forwarded-for x-forwarded-host x-forwarded-port
    x-forwarded-proto x-forwarded-server x-hopscope-probe x-powered-by x-real-ip x-request-id
    """.split()
)
# A subprotocol is where browsers, who cannot set headers, hide their bearer tokens.
_TOKENS_HIDE_IN = frozenset({"sec-websocket-protocol", "origin"})
VALUE_LIMIT = 512
TARGET_LIMIT = 1024
NAME_LIMIT = 64
HEX_LIMIT = 48
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")  # Twilio's names for calls and streams: no secrets
_LOOKS_SECRET = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_\-.~+=%]{20,}")
HIDDEN = "[hidden]"


def shown_value(name: str, value: str) -> str | None:
    """The value if it may be shown, else None."""
    key = name.lower()
    if key not in _SHOWN:
        return None
    if key in _TOKENS_HIDE_IN:
        value = ", ".join(_hide_secret(item.strip()) for item in value.split(","))
    return value[:VALUE_LIMIT]


def shown_headers(fields: Fields) -> dict[str, str]:
    """Names as received with their values, or "present" where the value may not be shown.

    Lines of one name are joined by a comma. X-Twilio-Signature is always told, as present or
    absent: it is the first thing to ask of a request that claims to be Twilio's.
    """
    told: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for name, value in fields:
        first = spelling.setdefault(name.lower(), name)
        shown = shown_value(name, value)
        if shown is None:
            told[first] = "present"
        else:
            told[first] = f"{told[first]}, {shown}"[:VALUE_LIMIT] if first in told else shown
    if "x-twilio-signature" not in spelling:
        told["X-Twilio-Signature"] = "absent"
    return told


def shown_target(target: str) -> str:
    """The request target with query values and token-like path segments hidden.

    Twilio drops the query of a <Stream> URL, so people put one-time tokens into the path instead
    (OpenClaw's realtime mode does); both are secrets of the call.
    """
    path, question, query = target.partition("?")
    path = "/".join(_hide_secret(segment) for segment in path.split("/"))
    pairs = [f"{name}={HIDDEN}" if eq else _hide_secret(name) for name, eq, _ in _pairs(query)]
    return (path + question + "&".join(pairs))[:TARGET_LIMIT]


def shown_raw_head(raw: bytes) -> str:
    """A head that could not be parsed, line by line, with every unknown value hidden.

    What does not start with a printable character is no head at all: its first bytes in hex.
    """
    if raw[:1] not in (b"\r", b"\n") and not raw[:1].decode("latin-1").isprintable():
        return raw[:HEX_LIMIT].hex(" ")
    first, *rest = raw.decode("latin-1").split("\n")
    method, space, target_and_version = first.partition(" ")
    target, last_space, version = target_and_version.rpartition(" ")
    if not last_space:
        target, version = target_and_version, ""
    method = method if len(method) <= NAME_LIMIT else _measure(method)
    shown = [method + space + shown_target(target) + last_space + version[:NAME_LIMIT]]
    return "\n".join(shown + [_shown_raw_line(line) for line in rest])


def _shown_raw_line(line: str) -> str:
    if not line.strip():
        return line
    name, colon, value = line.partition(":")
    is_name = TOKEN.fullmatch(name.rstrip()) and len(name) <= NAME_LIMIT
    if not colon or not is_name:
        return _measure(line)
    shown = shown_value(name.rstrip(), value)
    return f"{name}: {_measure(value)}" if shown is None else f"{name}:{shown}"


def _measure(text: str) -> str:
    return f"[{len(text.strip())} bytes]"


def _hide_secret(text: str) -> str:
    is_secret = _LOOKS_SECRET.fullmatch(text) and not _SID.fullmatch(text)
    return HIDDEN if is_secret else text


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in query.split("&")] if query else []
