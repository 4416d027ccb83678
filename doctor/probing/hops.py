"""The hops of a chain: read from hops.toml, inside first, or the usual two where there is none."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from doctor.addresses import BadUrl, parse_url
from doctor.evidence import KINDS, Hop, HopKind
from proxy.refusals import nearest

KEYS = ("name", "kind", "url", "config")
SIDECAR_URL = "http://127.0.0.1:8080"
_URL = "the public URL"


class HopsError(ValueError):
    """What is wrong with a list of hops, in one sentence that says what is allowed."""


def load_hops(file: Path) -> list[Hop]:
    """Read hops.toml. `config` is relative to the file. Raises HopsError."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HopsError(f"{file}: there is no such file; is the path right?") from None
    except IsADirectoryError:
        raise HopsError(f"{file}: is a folder; name the file in it") from None
    except OSError as error:
        said = f"{error.strerror or error}; may this user read it?"
        raise HopsError(f"{file}: {said}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise HopsError(f"{file}: is not TOML: {error}") from None
    for name in content:
        if name != "hop":
            hint = nearest(name, ["hop"])
            raise HopsError(f"{file}: {name}: unknown{hint}; the file holds [[hop]] tables only")
    tables = content.get("hop")
    if not isinstance(tables, list) or not tables:
        raise HopsError(f"{file}: has no [[hop]]; write one for each place, inside first")
    hops = [_read_hop(file, number, table) for number, table in enumerate(tables, 1)]
    _check_names(str(file), hops)
    return hops


def kind_of_url(url: str) -> HopKind:
    """The kind of hop that a public name tells, else "other"."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host.endswith(".ts.net"):
        return "tailscale"
    if host.endswith((".trycloudflare.com", ".cfargotunnel.com")):
        return "cloudflared"
    return "other"


def public_hop(url: str, name: str = "public") -> Hop:
    """The outermost hop. Raises HopsError where the URL is none."""
    return Hop(name, kind_of_url(url), checked_url(url, _URL))


def with_public(hops: Sequence[Hop], url: str | None) -> list[Hop]:
    """The hops, and outside them the public URL where none of them is it. Raises HopsError."""
    if url is None or any(checked_url(hop.url, hop.name) == checked_url(url, _URL) for hop in hops):
        return list(hops)
    return [*hops, public_hop(url, free_name("public", [hop.name for hop in hops]))]


def free_name(wanted: str, taken: Sequence[str]) -> str:
    """A name that no other hop has."""
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def checked_url(url: object, where: str) -> str:
    """The URL of a hop without its path. Raises HopsError."""
    if not isinstance(url, str) or not url:
        raise HopsError(f"{where} = {url!r}: should be http://HOST[:PORT] or https://HOST[:PORT]")
    if "@" in url.rpartition("://")[2].partition("/")[0]:
        raise HopsError(f"{where}: holds a name and password, which no voice call sends")
    if "://" not in url:
        raise HopsError(f"{where} = {url!r}: has no scheme; did you mean https://{url}?")
    if (scheme := url.partition("://")[0].lower()) in ("ws", "wss"):
        meant = {"ws": "http", "wss": "https"}[scheme] + url[len(scheme) :]
        raise HopsError(f"{where} = {url!r}: hops are dialled by http; write {meant}")
    try:
        target = parse_url(url)
    except BadUrl as error:
        raise HopsError(f"{where}: {error.saw}; http://HOST[:PORT] or https:// is due") from None
    return f"{'https' if target.is_secure else 'http'}://{target.authority}"


def default_hops(sidecar_url: str = SIDECAR_URL, public_url: str | None = None) -> list[Hop]:
    """The sidecar, and what is in front of it as one hop. Raises HopsError."""
    hops = [Hop("sidecar", "sidecar", checked_url(sidecar_url, "the sidecar's URL"))]
    return hops if public_url is None else [*hops, public_hop(public_url)]


def _read_hop(file: Path, number: int, table: Any) -> Hop:
    name = table.get("name") if isinstance(table, dict) else None
    where = f"{file}: hop {name!r}" if isinstance(name, str) and name else f"{file}: hop {number}"
    if not isinstance(table, dict):
        raise HopsError(f"{where}: should be a table with {', '.join(KEYS)}")
    for key in table:
        if key not in KEYS:
            allowed = f"allowed are {', '.join(KEYS)}"
            raise HopsError(f"{where}: {key}: there is no such key{nearest(key, KEYS)}; {allowed}")
    for key in ("name", "kind", "url"):
        if key not in table:
            raise HopsError(f"{where}: lacks {key}; a hop has name, kind and url")
    if not isinstance(name, str) or not name.strip():
        raise HopsError(f"{where}: name = {name!r}: should be a word of your own")
    kind = table["kind"]
    if kind not in KINDS:
        hint = nearest(str(kind), KINDS)
        allowed = f"allowed are {', '.join(KINDS)}"
        raise HopsError(f"{where}: kind = {kind!r}: there is no such kind{hint}; {allowed}")
    url = checked_url(table["url"], f"{where}: url")
    return Hop(name, kind, url, _config(file, where, table.get("config")))


def _config(file: Path, where: str, value: object) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise HopsError(f"{where}: config = {value!r}: should be the path of a file")
    path = file.parent / Path(value).expanduser()
    if "\0" in value or not path.exists():
        raise HopsError(f"{where}: config = {value!r}: there is no such file ({str(path)!r})")
    return path


def _check_names(where: str, hops: Sequence[Hop]) -> None:
    seen: set[str] = set()
    for hop in hops:
        if hop.name in seen:
            raise HopsError(f"{where}: two hops are called {hop.name!r}; names must differ")
        seen.add(hop.name)
