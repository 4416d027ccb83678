"""A tailnet as one program, for the fault laboratory: until it is ended.

    python -m ingress.tunnels.tailscale.program FOLDER CERTS HOST:PORT

FOLDER holds commands.sh: lines of the `tailscale` command, each run at the gateway's node as it
stands there. It may hold serve.json, which is what is served before these lines, and tailnet.toml:

    off = ["ingress"]          # or "packets": see control/main.go
    no_certificate = true      # the node's is taken away

What is served then is left in served.json, as `tailscale serve status --json` prints it. CERTS
holds ca.pem and ca.key. The program leaves its pid in tunnel.pid: SIGUSR1 restarts the daemon.
"""

import os
import shlex
import signal
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ingress.tunnels.tailscale.tailnet import Tailnet

READY = "The tailnet is as it shall be."


def main(folder: Path, certs: Path, listen: str) -> None:
    file = folder / "tailnet.toml"
    told: dict[str, Any] = tomllib.loads(file.read_text()) if file.exists() else {}
    unknown = told.keys() - {"off", "no_certificate"}
    if unknown:
        raise SystemExit(f"there is no switch {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (folder / "net").mkdir()
    with (
        Tailnet(folder / "net", certs, int(listen.rpartition(":")[2])) as tailnet,
        ExitStack() as stack,
    ):
        signal.signal(signal.SIGUSR1, lambda *_: tailnet.restart())
        (folder / "tunnel.pid").write_text(str(os.getpid()))
        served = folder / "serve.json"
        if served.exists():
            tailnet.cli_reading(served.read_text(), "serve", "set-raw")
        for words in commands((folder / "commands.sh").read_text()):
            tailnet.cli(*words)
        (folder / "served.json").write_text(tailnet.cli("serve", "status", "--json"))
        for what in told.get("off", ()):
            stack.enter_context(tailnet.off(what))
        if told.get("no_certificate"):
            stack.enter_context(tailnet.without_certificate())
        print(READY, flush=True)
        while True:
            signal.pause()


def commands(text: str) -> list[list[str]]:
    """The words of each line behind `tailscale`."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    wrong = [words[0] for words in lines if words and words[0] != "tailscale"]
    if wrong:
        raise SystemExit(f"only `tailscale` may be run, and not {', '.join(wrong)}")
    return [words[1:] for words in lines if words]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
