"""The README of an ingress's folder: how to start it, how to check it, what to change (pure)."""

from collections.abc import Sequence

from deployment.files import File, Ingress, fill, places
from deployment.site import Site

_README = """\
# @title@ in front of Hopscope

    Twilio ──▶ @title@, @url@ ──▶ hopscope proxy, @upstream@ ──▶ the voice gateway

Written by `hopscope ingress @name@`. With your names in it:

    hopscope ingress @name@ --public-url @url@ --out DIR

## Start

@start@
## Check

    hopscope lint @config@
    hopscope doctor --hops hops.toml@options@
    hopscope call @url@@webhook@

The doctor probes each hop, inside first, and names the one that breaks the WebSocket; `call` is a
simulated Twilio that holds a conversation.

## Change

@change@
## Files

@files@"""
_ABOUT = {
    "config": "the configuration",
    "hops": "for the doctor",
    "systemd": "/etc/systemd/system",
    "launchd": "/Library/LaunchDaemons; `UserName` is who runs it",
}


def readme(ingress: Ingress, site: Site, files: Sequence[File]) -> str:
    values = places(site)
    options = "" if str(site.admin) == "127.0.0.1:9101" else f" --admin http://{site.admin}"
    if site.webhook != "/voice/webhook":
        options += f" --webhook-path {site.webhook}"
    if site.stream != "/voice/stream":
        options += f" --stream-path {site.stream}"
    rows = "".join(f"| `{_name(each.path)}` | {_ABOUT[each.part]} |\n" for each in files)
    return fill(
        _README,
        **values,
        title=ingress.title,
        name=ingress.name,
        start="".join(f"    {line}\n" for line in fill(ingress.start, **values).splitlines()),
        change=fill(ingress.change, **values),
        config=_name(files[0].path),
        options=options,
        files=f"| file | is |\n|---|---|\n{rows}",
    )


def _name(path: str) -> str:
    return path.partition("/")[2]
