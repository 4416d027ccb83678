"""The site that hopscope.toml, the environment and the flags describe."""

from pathlib import Path
from urllib.parse import urlsplit

from deployment.site import (
    Address,
    Site,
    SiteError,
    folder_of,
    parse_address,
    parse_file,
    parse_host,
    parse_path,
    parse_tunnel,
    reachable,
)
from gateway.settings import read_settings
from proxy.routes import Upstream
from proxy.settings import Settings, load_settings


def read_site(
    file: Path | None = None,
    *,
    public_url: str | None = None,
    upstream: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
    tunnel: str | None = None,
    is_one_file: bool = False,
) -> Site:
    """Raises SiteError, and the SettingsErrors of proxy and gateway for settings that are wrong.

    `is_one_file` says that the ingress reads a certificate with its key from one file.
    """
    gateway = read_settings(file, public_url=public_url)
    sidecar = load_settings(file)
    public = gateway.public_url
    if public is None:
        raise SiteError(
            "public_url is not set: it is what Twilio calls, and what a configuration is for; "
            "--public-url https://voice.example.com, or HOPSCOPE_PUBLIC_URL"
        )
    if public.scheme != "https":
        raise SiteError(f"public_url = '{public}': should be https://: the ingress speaks TLS")
    if (certificate is None) != (key is None) and not (certificate and is_one_file):
        raise SiteError("--certificate and --key go together")
    # Twilio's debugger has a path only where somebody wants it: it makes no folder wider.
    unasked = {"debugger"} - gateway.paths.model_fields_set
    asked = gateway.paths.model_dump(exclude=unasked).values()
    paths = [public.prefix + path for path in asked]
    for path in paths:
        parse_path(path)
    listen = reachable(Address(*sidecar.listen))
    webhook, stream = public.prefix + gateway.paths.webhook, public.prefix + gateway.paths.stream
    found = _upstream_of(sidecar, public.host, stream)
    return Site(
        host=parse_host(public.host),
        port=urlsplit(str(public)).port or 443,
        upstream=parse_address("upstream", upstream or str(listen)),
        prefix=folder_of(paths),
        webhook=webhook,
        stream=stream,
        gateway=_gateway_address(found, reachable(Address(*gateway.listen))),
        admin=reachable(Address(*sidecar.admin)),
        certificate=None if certificate is None else parse_file("certificate", certificate),
        key=None if key is None else parse_file("key", key),
        **({} if tunnel is None else {"tunnel": parse_tunnel(tunnel)}),
    )


def _upstream_of(sidecar: Settings, host: str, path: str) -> Upstream | None:
    """Where the sidecar sends the stream; None where its settings name nobody."""
    routes = sidecar.routes()
    return next((route.upstream for route in routes if route.matches(host, path)), None)


def _gateway_address(upstream: Upstream | None, own: Address) -> Address | None:
    """What the doctor dials as the gateway: the sidecar's upstream, else our own gateway."""
    if upstream is None:
        return own
    return None if upstream.unix_path else Address(upstream.host, upstream.port)
