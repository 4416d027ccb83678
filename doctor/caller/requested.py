"""Each request that Twilio made about a call, and the answer to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

BODY_LIMIT = 4096  # of an answer, as much as is kept


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
