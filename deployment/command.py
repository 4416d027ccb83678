"""`hopscope ingress NAME`: a configuration that works, from hopscope.toml (see hopscope.py)."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from deployment.files import File
from deployment.site import Site

KNOWN = "tailscale, cloudflared, nginx, caddy, haproxy, traefik, envoy or apache."
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings; hopscope.toml of this folder by default."),
]
PublicUrl = Annotated[str | None, typer.Option(help="What Twilio calls, https.", metavar="URL")]


def ingress(
    name: Annotated[str, typer.Argument(metavar="NAME", help=KNOWN)],
    public_url: PublicUrl = None,
    config: ConfigFile = None,
    part: Annotated[
        Literal["config", "hops", "readme", "systemd", "launchd", "all"] | None,
        typer.Option(help="What to print or write; config, with --out all."),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(help="Where the ingress dials the sidecar.", metavar="HOST:PORT"),
    ] = None,
    certificate: Annotated[
        str | None, typer.Option(help="With its chain; for HAProxy with its key.", metavar="FILE")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Of the certificate.", metavar="FILE")] = None,
    tunnel: Annotated[
        str | None, typer.Option(help="Of cloudflared tunnel create.", metavar="UUID")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write DIR/NAME and the units.", metavar="DIR")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Print a configuration of an ingress that leads calls to the sidecar, or write its folder."""
    from deployment.catalogue import INGRESSES, hopscope_files, ingress_files
    from deployment.folder import write_files
    from deployment.reading import read_site
    from deployment.site import SiteError
    from proxy.refusals import nearest

    known = INGRESSES.get(name)
    if known is None:
        hint = nearest(name, INGRESSES)
        raise typer.BadParameter(
            f"NAME {name!r}: there is no such ingress{hint}; known are {', '.join(INGRESSES)}."
        )
    try:
        site = read_site(
            config,
            public_url=public_url,
            upstream=upstream,
            certificate=certificate,
            key=key,
            tunnel=tunnel,
            is_one_file=name == "haproxy",
        )
        files = (*ingress_files(known, site), *hopscope_files())
    except SiteError as error:
        raise typer.BadParameter(f"{error}.") from None
    wanted = part or ("all" if out else "config")
    chosen = [file for file in files if wanted in ("all", file.part)]
    written = [str(path) for path in write_files(out, chosen, force=force)] if out else []
    if as_json:
        _print_json(name, site, chosen, written)
    elif out:
        sys.stdout.write("".join(f"{path}\n" for path in written) or f"{out}: as it should be\n")
    else:
        _print(chosen)


def _print(files: Sequence[File]) -> None:
    """One file as it is; several as head(1) prints several."""
    for index, file in enumerate(files):
        if len(files) > 1:
            sys.stdout.write("\n" * (index > 0) + f"==> {file.path} <==\n")
        sys.stdout.write(file.text)


def _print_json(name: str, site: Site, files: Sequence[File], written: Sequence[str]) -> None:
    told = {
        "ingress": name,
        "public_url": site.url,
        "upstream": str(site.upstream),
        "files": [{"path": file.path, "part": file.part, "text": file.text} for file in files],
        "written": list(written),
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
