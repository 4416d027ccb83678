"""hops.toml: what `hopscope doctor --hops` probes, inside first (pure)."""

from deployment.files import Ingress
from deployment.site import Site

_HOP = """\

[[hop]]
name = "{name}"
kind = "{kind}"
url = "{url}"
"""


def hops_toml(ingress: Ingress, site: Site, config: str) -> str:
    """Gateway, sidecar, ingress. `config` is the file beside it that the doctor reads, too."""
    hops = [("sidecar", "sidecar", f"http://{site.upstream}")]
    if site.gateway is not None:
        hops.insert(0, ("gateway", "gateway", f"http://{site.gateway}"))
    hops.append((ingress.name, ingress.name, site.url))
    text = "# The way of a call, inside first: hopscope doctor --hops hops.toml\n"
    text += "".join(_HOP.format(name=name, kind=kind, url=url) for name, kind, url in hops)
    return f'{text}config = "{config}"\n'
