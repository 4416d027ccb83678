"""Which hop made an answer, by the sidecar's stamp in its header fields (pure).

Proxy-Status (RFC 9209) of an answer that passed the sidecar has the member `hopscope`, with
`received-status` where the gateway answered and `error` where the sidecar did itself. The doctor
reads it in full (doctor/probing/stamp.py); a test compares the two.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

SERVER = "hopscope-gateway"
# in_front: a hop between Twilio and the sidecar. None: nobody answered, or nothing tells who.
Hop = Literal["in_front", "sidecar", "gateway"]
_STRING = r'"(?:[^"\\]|\\.)*+"?'
_MEMBER = re.compile(rf'(?:{_STRING}|[^",])+')
_PARAMETER = re.compile(rf';\s*([\w-]+)\s*=\s*({_STRING}|[^;",\s]+)')


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answered. `stamp` is the id of the sidecar's record of it, "" without one."""

    hop: Hop | None
    stamp: str = ""


def answerer(fields: Iterable[tuple[str, str]]) -> Answerer:
    """Who made the answer with these fields; with none of them nothing can be told."""
    named = [(name.lower(), value) for name, value in fields]
    if not named:
        return Answerer(None)
    for name, value in named:
        if name != "proxy-status":
            continue
        for member in _MEMBER.findall(value):
            if re.match(r'\s*"?hopscope"?\s*(?:;|$)', member):
                told = {key.lower(): _bare(text) for key, text in _PARAMETER.findall(member)}
                return Answerer("sidecar" if "error" in told else "gateway", told.get("id", ""))
    # Without a sidecar on the way, or past it.
    is_ours = ("server", SERVER) in named
    return Answerer("gateway" if is_ours else "in_front")


def _bare(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text.strip('"')) if text.startswith('"') else text
