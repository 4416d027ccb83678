"""A file as it is written, and texts with places for the values of a site (pure)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from deployment.site import Site

Part = Literal["config", "hops", "readme", "systemd", "launchd"]
PARTS: tuple[Part, ...] = get_args(Part)
_PLACE = re.compile(r"@([a-z_]+)@")


@dataclass(frozen=True, slots=True)
class File:
    """`path` is relative to the folder that is written: "nginx/voice.conf"."""

    path: str
    part: Part
    text: str


@dataclass(frozen=True, slots=True)
class Ingress:
    """What is known of one ingress. `kind` is the doctor's, `title` what its maker calls it.

    `files` are names and texts: the first is what the doctor reads beside the hop. `start` and
    `change` go into the README, `units` gives files of systemd and launchd where the ingress's own
    package brings none. All but `files` may have places.
    """

    name: str
    title: str
    files: Callable[[Site], Mapping[str, str]]
    start: str
    change: str
    units: Callable[[Site], tuple[File, ...]] = lambda site: ()
    check: Callable[[Site], None] = lambda site: None  # raises SiteError


def fill(text: str, **values: object) -> str:
    """The text with its places filled. A place without a value is a mistake of ours: KeyError."""
    return _PLACE.sub(lambda place: str(values[place[1]]), text)


def places(site: Site) -> dict[str, object]:
    """The values that texts have places for."""
    return {
        "host": site.host,
        "port": site.port,
        "authority": site.authority,
        "url": site.url,
        "prefix": site.prefix,
        "folder": site.prefix.rstrip("/"),
        "webhook": site.webhook,
        "stream": site.stream,
        "upstream": site.upstream,
        "upstream_host": site.upstream.host,
        "upstream_port": site.upstream.port,
        "admin": site.admin,
        "tunnel": site.tunnel,
        "certificate": site.certificate or f"/etc/letsencrypt/live/{site.host}/fullchain.pem",
        "key": site.key or f"/etc/letsencrypt/live/{site.host}/privkey.pem",
    }
