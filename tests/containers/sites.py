"""What `hopscope ingress NAME` writes where the sidecar is a container of that name."""

from pathlib import Path

from deployment.catalogue import INGRESSES, ingress_files
from deployment.site import Site, parse_address
from ingress.tunnels.authority import issue

SIDECAR = parse_address("upstream", "sidecar:8080")
CERTIFICATES = "/etc/nginx/certificates"


def write_ingress(name: str, folder: Path, host: str, **values: str) -> Path:
    """Write the configuration into a new folder, which is given back."""
    folder.mkdir(parents=True)
    for file in ingress_files(INGRESSES[name], Site(host, SIDECAR, **values)):  # type: ignore[arg-type]
        if file.part == "config":
            (folder / Path(file.path).name).write_text(file.text)
    return folder


def write_nginx(folder: Path, host: str, authority: Path) -> dict[str, Path]:
    """Its folders, by their paths in the container; the certificate is the authority's."""
    certificates = folder / "certificates"
    certificates.mkdir(parents=True)
    issue(certificates, host, authority)
    named = {
        "certificate": f"{CERTIFICATES}/{host}.crt",
        "key": f"{CERTIFICATES}/{host}.key",
    }
    configuration = write_ingress("nginx", folder / "nginx", host, **named)
    return {"/etc/nginx/conf.d": configuration, CERTIFICATES: certificates}
