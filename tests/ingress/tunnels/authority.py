"""An authority that only tests trust, and its certificates, by the openssl command."""

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path) -> None:
    """Write ca.pem and ca.key."""
    files = ("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Authority of the tests")
    # Python 3.13 wants an authority to say what its key is for (RFC 5280 section 4.2.1.3).
    is_ca = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
    extensions = (word for line in is_ca for word in ("-addext", line))
    _openssl(folder, "req", "-x509", *_KEY, *files, "-days", "30", *extensions)


def issue(folder: Path, host: str, authority: Path) -> None:
    """Write HOST.crt and HOST.key, signed with the ca.pem and ca.key of `authority`."""
    files = ("-keyout", f"{host}.key", "-out", f"{host}.csr")
    _openssl(folder, "req", "-new", *_KEY, *files, "-subj", f"/CN={host}")
    ids = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n"
    (folder / f"{host}.ext").write_text(f"subjectAltName=DNS:{host}\n{ids}")
    ca = ("-CA", str(authority / "ca.pem"), "-CAkey", str(authority / "ca.key"), "-CAcreateserial")
    what = ("-in", f"{host}.csr", "-extfile", f"{host}.ext", "-out", f"{host}.crt")
    _openssl(folder, "x509", "-req", *what, *ca, "-days", "30")


def _openssl(folder: Path, *arguments: str) -> None:
    command = ["openssl", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
