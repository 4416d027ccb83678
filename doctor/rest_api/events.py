"""The Events of a call: each request that Twilio made about it, and the answer to it."""

import re
from typing import Any

from doctor.caller.requested import BODY_LIMIT, Requested
from doctor.rest_api.shapes import rfc2822


def event_resource(requested: Requested) -> dict[str, Any]:
    """The event, as the list of them shows it. It has no name of its own."""
    parameters = {_snake_case(name): value for name, value in requested.parameters.items()}
    return {
        "request": {"method": requested.method, "url": requested.url, "parameters": parameters},
        "response": {
            "content_type": requested.content_type,
            "date_created": rfc2822(requested.at + requested.ms / 1000),
            "request_duration": round(requested.ms),
            "response_body": requested.body[:BODY_LIMIT],
            "response_code": requested.status,
        },
    }


def _snake_case(name: str) -> str:
    """CallSid is call_sid there."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
