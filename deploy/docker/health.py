"""Docker's health check: whether the program in this container answers. Exit code 0, or 1 and why.

    python health.py             the admin address, of `hopscope up` and `hopscope proxy`
    python health.py gateway     the address of `hopscope gateway`

Standard library alone: it runs every few seconds, beside calls. Addresses that were given as
flags are not seen here; those of hopscope.toml and the environment are.
"""

import os
import sys
import tomllib
from http.client import HTTPConnection, HTTPException
from pathlib import Path

TIMEOUT_S = 4.0
# What listens on every address is asked on loopback.
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def admin_address() -> str:
    written = _read().get("admin", "127.0.0.1:9101")
    return os.environ.get("HOPSCOPE_ADMIN", str(written))


def gateway_address() -> str:
    table = _read().get("gateway", {})
    written = table.get("listen", "127.0.0.1:8081") if isinstance(table, dict) else ""
    return os.environ.get("HOPSCOPE_GATEWAY_LISTEN", str(written))


def ask(address: str, token: str | None = None) -> str:
    """What is wrong with the program at HOST:PORT; nothing: it is well."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection = HTTPConnection(_HERE.get(host, host), int(port), timeout=TIMEOUT_S)
        connection.request("GET", "/healthz", headers=headers)
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        return f"{address}: {error or type(error).__name__}"
    return "" if status == 200 else f"{address}: /healthz answered {status}"


def _read() -> dict[str, object]:
    file = Path("hopscope.toml")
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


if __name__ == "__main__":
    if "gateway" in sys.argv[1:]:
        wrong = ask(gateway_address())
    else:
        wrong = ask(admin_address(), os.environ.get("HOPSCOPE_ADMIN_TOKEN"))
    sys.stdout.write(f"{wrong or 'ok'}\n")
    sys.exit(1 if wrong else 0)
