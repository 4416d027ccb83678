"""What is to be compared, as it was written: [NAME=]URL, and other addresses to dial (pure)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from doctor.addresses import Address, parse_address, parse_url
from doctor.evidence import Hop
from doctor.probing.dial import is_name
from doctor.probing.hops import HopsError, checked_url, kind_of_url

DIRECT = "direct"
_NAMED = re.compile(r"([\w.\-]+)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One ingress. `host` is the Host that callers send, where the URL has a name.

    `resolve` is as in ProbeOptions: where its name leads in place of what DNS says.
    """

    hop: Hop
    host: str | None = None
    resolve: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.hop.name


def read_entries(written: Sequence[str], connect_to: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Raises HopsError for what cannot be compared, with what is allowed."""
    entries = tuple(_read(text) for text in written)
    if not entries:
        raise HopsError("there is nothing to compare: give the URLs of your ingresses")
    names = [entry.name for entry in entries]
    for name in names:
        if name == DIRECT:
            raise HopsError(f"{DIRECT!r} is the way to the sidecar itself: choose another name")
        if names.count(name) > 1:
            raise HopsError(f"two ingresses are called {name!r}: write NAME=URL to tell them apart")
    for text in connect_to:
        entries = _detoured(entries, text)
    return entries


def direct_entry(url: str, host: str | None) -> Entry:
    """The sidecar itself, which everything else is laid beside."""
    return Entry(Hop(DIRECT, "sidecar", url), host)


def _read(text: str) -> Entry:
    found = _NAMED.fullmatch(text)
    name, url = (found[1], found[2]) if found else ("", text)
    whole = checked_url(url, name or "the URL of an ingress")
    if urlsplit(url).path not in ("", "/") or urlsplit(url).query:
        raise HopsError(f"{url!r}: the URL of an ingress has no path; --stream-path says it")
    target = parse_url(whole)
    host = target.authority if is_name(target.address.host) else None
    return Entry(Hop(name or target.authority, kind_of_url(whole), whole), host)


def _detoured(entries: tuple[Entry, ...], text: str) -> tuple[Entry, ...]:
    """The entries, with those of a name dialled elsewhere."""
    name, _, place = text.partition("=")
    try:
        address = parse_address(place)
    except ValueError as error:
        raise HopsError(f"--connect-to {text!r}: should be NAME=HOST:PORT: {error}") from None
    wanted = [each for each in entries if name in (each.name, _host(each))]
    if not wanted:
        known = ", ".join(each.name for each in entries)
        raise HopsError(f"--connect-to {text!r}: there is no ingress {name!r}, but {known}")
    return tuple(_dialled(each, address) if each in wanted else each for each in entries)


def _dialled(entry: Entry, address: Address) -> Entry:
    """The same Host and the same name in the certificate, another address."""
    target = parse_url(entry.hop.url)
    host = target.address.host
    written = f"[{host}]" if ":" in host else host
    scheme = "https" if target.is_secure else "http"
    hop = replace(entry.hop, url=f"{scheme}://{written}:{address.port}")
    return replace(entry, hop=hop, host=target.authority, resolve={host: address.host})


def _host(entry: Entry) -> str:
    return parse_url(entry.hop.url).address.host
