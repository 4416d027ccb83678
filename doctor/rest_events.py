"""The Events of a call: each request that Twilio made about it, and the answer to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from doctor.rest_shapes import rfc2822

BODY_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Requested:
    """One request and its answer. `at` is seconds since 1970; status None: nobody answered."""

    at: float
    method: str
    url: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    content_type: str | None = None
    body: str = ""
    ms: float = 0.0

    def resource(self) -> dict[str, Any]:
        """The event, as the list of them shows it. It has no name of its own."""
        parameters = {_snake_case(name): value for name, value in self.parameters.items()}
        return {
            "request": {"method": self.method, "url": self.url, "parameters": parameters},
            "response": {
                "content_type": self.content_type,
                "date_created": rfc2822(self.at + self.ms / 1000),
                "request_duration": round(self.ms),
                "response_body": self.body[:BODY_LIMIT],
                "response_code": self.status,
            },
        }


def _snake_case(name: str) -> str:
    """CallSid is call_sid there."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
