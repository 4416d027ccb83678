"""The stream URLs that a TwiML document advertises, and which of them never saw an upgrade.

"Notify works, conversation does not" has one early sign: the webhook answered with a <Stream>,
and no upgrade for it ever came. Twilio asks for it within a second or two of the answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit
from xml.parsers import expat

DOCUMENT_LIMIT = 64 * 1024  # Twilio refuses more (error 11750)
ARRIVAL_S = 15.0  # Twilio gives a connection attempt 5 s and may try twice
PENDING_LIMIT = 1000


def advertised_streams(document: bytes) -> list[str]:
    """The url of every <Stream> under <Connect> or <Start>; [] for what is not TwiML."""
    urls: list[str] = []
    parents: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "Stream" and parents[-1:] in (["Connect"], ["Start"]) and "url" in attributes:
            urls.append(attributes["url"])
        parents.append(name)

    def end(_name: str) -> None:
        parents.pop()

    def refuse(*_: object) -> None:
        raise ValueError  # TwiML has no document type; entities are how XML parsers are attacked

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding nobody knows
        return []
    return urls


def posted_call_sid(form: bytes) -> str | None:
    """CallSid of a webhook's form body (application/x-www-form-urlencoded)."""
    try:
        values = parse_qs(form.decode("ascii"), max_num_fields=200).get("CallSid")
    except ValueError:
        return None
    return values[0][:64] if values else None


@dataclass(frozen=True, slots=True)
class Advertised:
    """A stream that TwiML promised. `exchange` is the id of the webhook request."""

    url: str
    path: str
    call_sid: str | None
    exchange: str
    at: float


class AdvertisedStreams:
    """Streams that are due. Times are seconds on the caller's steady clock."""

    def __init__(self) -> None:
        self._due: list[Advertised] = []

    def __len__(self) -> int:
        return len(self._due)

    def expect(self, urls: Iterable[str], call_sid: str | None, exchange: str, now: float) -> None:
        for url in urls:
            if len(self._due) >= PENDING_LIMIT:
                return
            try:
                path = urlsplit(url).path or "/"
            except ValueError:
                continue
            self._due.append(Advertised(url, path, call_sid, exchange, now))

    def receive_upgrade(self, path: str) -> Advertised | None:
        """The oldest promise that this upgrade keeps. An ingress may strip or add a prefix."""
        here = path.rstrip("/")  # a mount that strips the whole path leaves "/"
        for advertised in self._due:
            there = advertised.path.rstrip("/")
            if there.endswith(here) or here.endswith(there):
                self._due.remove(advertised)
                return advertised
        return None

    def overdue(self, now: float) -> list[Advertised]:
        """Take out the promises that were not kept in time."""
        late = [advertised for advertised in self._due if now - advertised.at >= ARRIVAL_S]
        self._due = [advertised for advertised in self._due if now - advertised.at < ARRIVAL_S]
        return late
