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
VALUE_LIMIT = 512
TARGET_LIMIT = 1024
NAME_LIMIT = 64
HEX_LIMIT = 16
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")  # Twilio's names for calls and streams: no secrets
# What a token is written in; whether it is one is told from a digit among the letters.
_LONG_RUN = re.compile(r"[A-Za-z0-9_\-.~+=%]{20,}")
_ASSIGNED = re.compile(r"=[^/;&]+")  # ;token=... and /key=.../ in a path
_EXTENSION = re.compile(r"((?:^|[;,])\s*+(?!(?:by|for|host|proto)=)[^=;,]*)=[^;,]*", re.IGNORECASE)
_URLS = frozenset({"origin", "host", "x-forwarded-host"})
_USERINFO = re.compile(r"(?:(?<=://)|^(?!\w+://))[^/?#]*@")
_METHOD_OR_VERSION = re.compile(r"[A-Z-]{1,24}|HTTP/[0-9.]{1,8}")
HIDDEN = "[hidden]"


def shown_value(name: str, value: str) -> str | None:
    """The value if it may be shown, else None."""
    key = name.lower()
    if key not in _SHOWN:
        return None
    # A subprotocol is where browsers, who cannot set headers, hide their bearer tokens.
    if key == "sec-websocket-protocol" or (key == "origin" and "://" not in value):
        value = _hide_secrets(value)
    if key in _URLS:
        value = _USERINFO.sub(f"{HIDDEN}@", value).partition("?")[0]
    if key == "forwarded":  # RFC 7239 lets anyone add parameters of their own
        value = _EXTENSION.sub(rf"\1={HIDDEN}", value)
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
    path = _hide_secrets(_ASSIGNED.sub(f"={HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", path)))
    # A word without = may be a token as well as a flag.
    pairs = [_hide_secrets(name) + f"={HIDDEN}" if eq else HIDDEN for name, eq, _ in _pairs(query)]
    return (path + question + "&".join(pairs))[:TARGET_LIMIT]


def shown_text(text: str) -> str:
    """Some text of a peer's, an error page say, with what looks like a token hidden."""
    return _hide_secrets(text)


def shown_raw_head(raw: bytes) -> str:
    """A head that could not be parsed, line by line, with every unknown value hidden.

    What does not start with a printable character is no head at all: its first bytes in hex.
    """
    if raw[:1] not in (b"\r", b"\n") and not raw[:1].decode("latin-1").isprintable():
        return raw[:HEX_LIMIT].hex(" ")
    # A bare CR may be why it could not be parsed, and what follows it belongs to no field.
    first, *rest = re.split(r"(\r?\n|\r)", raw.decode("latin-1"))
    return _shown_first_line(first) + "".join(_shown_raw_line(part) for part in rest)


def _shown_first_line(line: str) -> str:
    """The line as far as it looks like a request line: it may be the rest of someone's body."""
    method, space, rest = line.partition(" ")
    target, last_space, version = rest.rpartition(" ")
    if not version.startswith("HTTP/") or not _METHOD_OR_VERSION.fullmatch(version):
        target, last_space, version = rest, "", ""
    is_target = target == "*" or target.startswith(("/", "http://", "https://"))
    method = method if space and _METHOD_OR_VERSION.fullmatch(method) else _measure(method)
    target = shown_target(target) if is_target else _measure(target)
    return method + space + target + last_space + version


def _shown_raw_line(line: str) -> str:
    if not line.strip():
        return line
    name, colon, value = line.partition(":")
    is_name = TOKEN.fullmatch(name.rstrip()) and len(name) <= NAME_LIMIT
    if not colon or not is_name or _hide_secrets(name) != name:
        return _measure(line)
    shown = None if re.search(r"[\0-\x08\x0b-\x1f]", value) else shown_value(name.rstrip(), value)
    return f"{name}: {_measure(value)}" if shown is None else f"{name}:{shown}"


def _measure(text: str) -> str:
    return f"[{len(text.strip())} bytes]" if text else ""


def _hide_secrets(text: str) -> str:
    return _LONG_RUN.sub(lambda run: HIDDEN if _looks_secret(run[0]) else run[0], text)


def _looks_secret(run: str) -> bool:
    is_mixed = re.search("[0-9]", run) and re.search("[A-Za-z]", run)
    return bool(is_mixed) and not _SID.fullmatch(run)


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in query.split("&")] if query else []
