"""Certificates of the edge, made by the openssl command when a tunnel opens.

ca       the authority that cloudflared and callers are told to trust
edge     of the names by which cloudflared knows the edge (connection/protocol.go of its source)
public   of the public name
"""

import subprocess
from pathlib import Path

EDGE_NAMES = ("h2.cftunnel.com", "quic.cftunnel.com", "probe.cftunnel.com")
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")


def make_certificates(folder: Path, public_name: str) -> None:
    """Write NAME.pem and NAME.key of each into the folder."""
    is_ca = "basicConstraints=critical,CA:TRUE"
    # Python 3.13 wants an authority to say what its key is for (RFC 5280 section 4.2.1.3).
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _make(folder, "ca", "Authority of a made-up edge", is_ca, *usage)
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
    for name, names in (("edge", EDGE_NAMES), ("public", (public_name,))):
        listed = ",".join(f"DNS:{each}" for each in names)
        is_leaf = ("-addext", "basicConstraints=critical,CA:FALSE")
        _make(folder, name, names[0], f"subjectAltName={listed}", *is_leaf, *signed)


def _make(folder: Path, name: str, subject: str, extension: str, *options: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={subject}")
    command = ["openssl", "req", "-x509", *_KEY, *files, "-addext", extension, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
