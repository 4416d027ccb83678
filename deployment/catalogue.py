"""All ingresses that are known, and all files of one (pure)."""

from deployment.apache import APACHE
from deployment.caddy import CADDY
from deployment.cloudflared import CLOUDFLARED
from deployment.envoy import ENVOY
from deployment.files import File, Ingress
from deployment.haproxy import HAPROXY
from deployment.hops import hops_toml
from deployment.launchd import hopscope_plists
from deployment.nginx import NGINX
from deployment.readme import readme
from deployment.site import Site
from deployment.systemd import hopscope_units
from deployment.tailscale import TAILSCALE
from deployment.traefik import TRAEFIK

INGRESSES: dict[str, Ingress] = {
    each.name: each
    for each in (TAILSCALE, CLOUDFLARED, NGINX, CADDY, HAPROXY, TRAEFIK, ENVOY, APACHE)
}


def ingress_files(ingress: Ingress, site: Site) -> tuple[File, ...]:
    """The files of an ingress's own folder. Raises SiteError for a site that it cannot serve."""
    ingress.check(site)
    texts = ingress.files(site)
    files = [File(f"{ingress.name}/{name}", "config", text) for name, text in texts.items()]
    hops = hops_toml(ingress, site, next(iter(texts)))
    files.append(File(f"{ingress.name}/hops.toml", "hops", hops))
    files += ingress.units(site)
    about = readme(ingress, site, files)
    return (*files, File(f"{ingress.name}/README.md", "readme", about))


def hopscope_files() -> tuple[File, ...]:
    """Units for hopscope itself, which are the same behind every ingress."""
    return (*hopscope_units(), *hopscope_plists())
