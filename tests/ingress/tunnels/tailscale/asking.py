"""What a user of the gateway's machine asks Hopscope, as command lines, and reads of it."""

import shlex
import sys

from ingress.tunnels.tailscale.tailnet import Tailnet
from programs import HopscopeProcess


def doctor(tailnet: Tailnet, hopscope: HopscopeProcess) -> str:
    return shlex.join(
        (
            *(sys.executable, "-m", "hopscope", "doctor", tailnet.url),
            *("--connect-to", tailnet.address),
            *("--admin", f"http://127.0.0.1:{hopscope.admin_port}"),
        )
    )


def phone(tailnet: Tailnet, *options: str) -> str:
    return shlex.join(
        (
            *(sys.executable, "-m", "hopscope", "call", f"{tailnet.url}/voice/webhook"),
            *("--connect-to", tailnet.address, "--json", *options),
        )
    )


def printed_fix(report: str) -> str:
    """The first command that the report gives, as it stands there."""
    lines = (line.strip() for line in report.splitlines())
    return next(line for line in lines if line.startswith("tailscale funnel "))
