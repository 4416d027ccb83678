"""What Twilio's debugger posts of an error or a warning, read (pure).

The form has Sid, AccountSid, Level, Timestamp and Payload, which is JSON: resource_sid, error_code,
and under `webhook` the request that Twilio made and the answer that it got
(docs/usage/troubleshooting/debugging-event-webhooks). What it quotes of requests and bodies may
hold secrets: of it, only what tells who answered is taken.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.stamp import Answerer, answerer

FIELDS_LIMIT = 100
URL_LIMIT = 2048
_SID = re.compile(r"[A-Z]{2}[0-9a-fA-F]{32}")
_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class Incident:
    """One error or warning of Twilio's. `url` and `status` are of the request behind it, if any."""

    sid: str
    code: int
    severity: Literal["error", "warning"]
    call_sid: str | None
    resource_sid: str | None
    occurred_at: str | None  # ISO 8601, as Twilio writes it
    method: str | None
    url: str | None
    status: int | None
    answered_by: Answerer
    answer_fields: tuple[tuple[str, str], ...] = ()


def parse_incident(form: Mapping[str, Sequence[str]]) -> Incident | None:
    """The form that the debugger posts; None for one that is none."""
    try:
        payload = json.loads(_first(form, "Payload"))
    except (ValueError, RecursionError):
        return None
    code = payload.get("error_code") if isinstance(payload, dict) else None
    if not re.fullmatch("[1-9][0-9]{4}", str(code)):
        return None
    webhook = _table(payload, "webhook")
    request, response = _table(webhook, "request"), _table(webhook, "response")
    fields = _fields(_table(response, "headers"))
    resource_sid = _matching(_SID, payload.get("resource_sid"))
    parameters = _table(request, "parameters")
    status, url = str(response.get("status_code")), request.get("url")
    return Incident(
        sid=_matching(_SID, _first(form, "Sid")) or "",
        code=int(str(code)),
        severity="warning" if _first(form, "Level").lower() == "warning" else "error",
        call_sid=_matching(_CALL_SID, resource_sid)
        or _matching(_CALL_SID, parameters.get("CallSid")),
        resource_sid=resource_sid,
        occurred_at=_matching(re.compile(r"[0-9T:.+Z-]{10,35}"), _first(form, "Timestamp")),
        method=_matching(re.compile("[A-Z]{3,7}"), request.get("method")),
        url=url[:URL_LIMIT] if isinstance(url, str) and url else None,
        status=int(status) if re.fullmatch("[1-9][0-9]{2}", status) else None,
        answered_by=answerer(fields),
        answer_fields=fields,
    )


def _first(form: Mapping[str, Sequence[str]], name: str) -> str:
    return (form.get(name) or [""])[0]


def _table(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _fields(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Header fields; Twilio writes one value a name, and a list is taken, too."""
    pairs = [
        (str(name), str(value))
        for name, values in table.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return tuple(pairs[:FIELDS_LIMIT])


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
