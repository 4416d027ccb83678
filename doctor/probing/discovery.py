"""The hops of a chain where no hops.toml says them.

The sidecar tells where it listens and who its gateway is. In front of it comes the ingress whose
configuration names the sidecar's port, in front of that one whose configuration names its port,
and so on; then the public URL. An ingress that names none of these is left out, and a note says
so: a server that happens to run here is not on the way of any call.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from doctor.evidence import Hop
from doctor.probing.hops import HopsError, checked_url, free_name, public_hop, with_public
from doctor.probing.ingresses import (
    Document,
    Ingress,
    find_cloudflared,
    find_servers,
    find_tailscale,
    mentions,
)
from doctor.probing.machine import Machine
from doctor.probing.sidecar import AdminAddress, Unavailable

ADMIN_URL = "http://127.0.0.1:9101"
PUBLIC_URL_VARIABLE = "HOPSCOPE_PUBLIC_URL"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found. `hop_notes` go into ProbeOptions, `notes` are for whoever reads the report.

    `admin` is the sidecar's admin address if it answered, `documents` what commands printed
    about hops, by hop.
    """

    hops: tuple[Hop, ...]
    notes: tuple[str, ...] = ()
    admin: str | None = None
    hop_notes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    documents: tuple[tuple[str, Document], ...] = ()


async def discover(
    public_url: str | None,
    *,
    admin: str | None = None,
    admin_token: str | None = None,
    stream_path: str = "/voice/stream",
    machine: Machine | None = None,
    home: Path | None = None,
) -> Discovery:
    """Find the hops, inside first. Raises HopsError where there is nothing to probe."""
    machine = machine or Machine()
    public_url = public_url or os.environ.get(PUBLIC_URL_VARIABLE) or None
    if public_url is not None:
        checked_url(public_url, "the public URL")
    inner = await _inside(admin, admin_token, public_url, stream_path)
    ingresses = [
        *await find_servers(machine),
        *await find_cloudflared(machine, home or Path.home()),
        *await find_tailscale(machine),
    ]
    sidecar = next((hop for hop in inner.hops if hop.kind == "sidecar"), None)
    notes = list(inner.notes)
    chain: list[Ingress] = []
    if sidecar is not None:
        port = urlsplit(sidecar.url).port or 80
        chain, others = in_order(ingresses, port, public_url)
        notes += [_left_out(each) for each in others]
    hops = [*inner.hops]
    hop_notes, documents = [], []
    for each in chain:
        hop = await _as_hop(each, machine, public_url, [hop.name for hop in hops])
        if hop is not None:
            hops.append(hop)
            hop_notes.append((hop.name, each.notes))
            if each.document is not None:
                documents.append((hop.name, each.document))
    hops = with_public(hops, public_url)
    if not hops:
        raise HopsError(
            "there is nothing to probe: give the public URL, start the sidecar "
            f"(its admin address is asked at {admin or ADMIN_URL}), or write hops.toml; "
            + "; ".join(notes)
        )
    return Discovery(tuple(hops), tuple(notes), inner.admin, tuple(hop_notes), tuple(documents))


async def _inside(
    admin: str | None, token: str | None, public_url: str | None, stream_path: str
) -> Discovery:
    """The gateway and the sidecar, as the sidecar's admin address tells of them."""
    url = admin or ADMIN_URL
    try:
        address = AdminAddress(url, token)
        index = await address.index()
        host = urlsplit(public_url).netloc if public_url else None
        routed = await address.route(stream_path, host)
    except ValueError as error:
        raise HopsError(f"--admin = {url!r}: should be http://HOST:PORT: {error}") from None
    except Unavailable as error:
        return Discovery((), (f"no sidecar was found: {error}",))
    hops, notes = [], []
    upstream = routed.upstream if routed is not None else None
    if upstream is None:
        notes.append(f"the sidecar routes {stream_path} nowhere")
    elif upstream.startswith("http"):
        hops.append(Hop("gateway", "gateway", upstream))
    else:
        notes.append(f"the gateway listens on {upstream}, which is not dialled from here")
    if listen := index.get("listen"):
        hops.append(Hop("sidecar", "sidecar", dialled(str(listen), url)))
    else:
        notes.append("the sidecar does not tell where it listens; write hops.toml")
    return Discovery(tuple(hops), tuple(notes), url)


def dialled(listen: str, admin: str) -> str:
    """Where a sidecar that listens on an address is dialled: on the machine of its admin."""
    host, _, port = listen.rpartition(":")
    if host.strip("[]") in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        host = urlsplit(admin).hostname or "127.0.0.1"
    host = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{host}:{port}"


def in_order(
    ingresses: Sequence[Ingress], sidecar_port: int, public_url: str | None
) -> tuple[list[Ingress], list[Ingress]]:
    """The ingresses on the way to the sidecar, inside first, and the others."""
    left = list(ingresses)
    chain: list[Ingress] = []
    ports: tuple[int, ...] = (sidecar_port,)
    while ports:
        following = [each for each in left if any(mentions(each.text, port) for port in ports)]
        if not following:
            break
        # Where several send to one port, calls come by the one that serves the public name.
        following.sort(key=lambda each: not _serves(each, public_url))
        left.remove(following[0])
        chain.append(following[0])
        ports = following[0].ports
    return chain, left


def _serves(ingress: Ingress, public_url: str | None) -> bool:
    host = urlsplit(public_url).hostname if public_url else None
    if host is None:
        return bool(ingress.public_urls)
    return host in ingress.text or any(
        urlsplit(url).hostname == host for url in ingress.public_urls
    )


def _left_out(ingress: Ingress) -> str:
    said = "; ".join(ingress.notes) or (
        f"{ingress.kind} runs here, and its configuration does not name the sidecar's port"
    )
    return f"{said}; write hops.toml if calls pass it"


async def _as_hop(
    ingress: Ingress, machine: Machine, public_url: str | None, taken: list[str]
) -> Hop | None:
    name = free_name(ingress.kind, taken)
    if not ingress.ports:
        # A tunnel dials out: it is seen at the name that the world knows.
        url = public_url or next(iter(ingress.public_urls), None)
        if url is None:
            return None
        hop = public_hop(url, name)
        return replace(hop, kind=ingress.kind, config=ingress.config)
    wants_tls = public_url is not None and public_url.startswith("https:")
    places = [(port, await machine.speaks_tls(port)) for port in ingress.ports]
    # Where calls come by https, the port that speaks it; the usual numbers before others.
    places.sort(key=lambda place: (place[1] != wants_tls, place[0] not in (443, 80), place[0]))
    port, is_secure = places[0]
    url = f"{'https' if is_secure else 'http'}://127.0.0.1:{port}"
    return Hop(name, ingress.kind, url, ingress.config)
