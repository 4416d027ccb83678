"""Certificates of the fault laboratory, made by the openssl command when a laboratory opens.

ca           the authority that the doctor is told to trust, and `client`, which it issued
voice        good, for voice.example.com; `bundle` is its PEM file with its key, as HAProxy wants
expired      since yesterday
other        for another.example.com
self_signed  by nobody but itself
lone         issued by an intermediate authority that is not sent along; `full` sends it
"""

import subprocess
from pathlib import Path

from programs import require

NAME = "voice.example.com"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
# Python 3.13 wants an authority to say what its key is for, and all to name who signed them.
_IDS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always"
_CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign"


def make_certificates(folder: Path) -> None:
    """Write NAME.pem and NAME.key of each into the folder."""
    _self_signed(folder, "ca", "Laboratory authority", _CA)
    _self_signed(folder, "self_signed", NAME, f"subjectAltName=DNS:{NAME}")
    _issue(folder, "voice", NAME)
    _issue(folder, "expired", NAME, days=-1)
    _issue(folder, "other", "another.example.com")
    _issue(folder, "client", "a client")
    _issue(folder, "intermediate", "Laboratory intermediate", extension=_CA)
    _issue(folder, "lone", NAME, by="intermediate")
    _join(folder, "full", "lone.pem", "intermediate.pem")
    (folder / "full.key").write_bytes((folder / "lone.key").read_bytes())
    for name in ("voice", "expired", "other", "self_signed", "lone", "full"):
        _join(folder, f"{name}-bundle", f"{name}.pem", f"{name}.key")


def _self_signed(folder: Path, name: str, subject: str, extension: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    extensions = (word for line in extension.split("\n") for word in ("-addext", line))
    options = ("-subj", f"/CN={subject}", "-days", "30", *extensions)
    _openssl(folder, "req", "-x509", *_KEY, *files, *options)


def _issue(
    folder: Path, name: str, subject: str, *, by: str = "ca", days: int = 30, extension: str = ""
) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(folder, "req", "-new", *_KEY, *files, "-subj", f"/CN={subject}")
    chosen = extension or f"subjectAltName=DNS:{subject}"
    (folder / f"{name}.ext").write_text(f"{chosen}\n{_IDS}\n")
    signed_by = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial")
    what = ("-in", f"{name}.csr", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    _openssl(folder, "x509", "-req", *what, *signed_by, "-days", str(days))


def _join(folder: Path, name: str, *parts: str) -> None:
    (folder / f"{name}.pem").write_bytes(b"".join((folder / part).read_bytes() for part in parts))


def _openssl(folder: Path, *arguments: str) -> None:
    command = [require("openssl"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
