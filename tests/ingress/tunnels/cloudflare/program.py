"""A tunnel as one program, for the fault laboratory: edge and cloudflared, until it is ended.

    python -m ingress.tunnels.cloudflare.program CLOUDFLARED FOLDER HOST:PORT

FOLDER holds rules.yml, the rules of config.yml, and may hold edge.toml: the edge's switches, and

    protocol = "http2"
    certificate = "/path/to/voice"     # .pem and .key of the public name; plain HTTP without
    [sockets]                          # Unix sockets for cloudflared to dial: where they lead
    "/path/to/socket" = "127.0.0.1:8080"

It leaves its pid in tunnel.pid: SIGUSR1 restarts the edge.
"""

import asyncio
import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import Any

from ingress.tunnels.cloudflare.front import Switches
from ingress.tunnels.cloudflare.namespace import relay
from ingress.tunnels.cloudflare.tunnel import CloudflareTunnel

READY = "The tunnel is as it shall be."


def main(executable: str, folder: Path, listen: str) -> None:
    file = folder / "edge.toml"
    told: dict[str, Any] = tomllib.loads(file.read_text()) if file.exists() else {}
    certificate = told.pop("certificate", None)
    protocol = told.pop("protocol", "http2")
    sockets = told.pop("sockets", {})
    host, _, port = listen.rpartition(":")
    tunnel = CloudflareTunnel(
        executable,
        "",
        (folder / "rules.yml").read_text(),
        protocol=protocol,
        switches=Switches(**told),
        listen=(host, int(port)),
        tls=(Path(f"{certificate}.pem"), Path(f"{certificate}.key")) if certificate else (),
        folder=folder,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGUSR1, lambda *_: tunnel.restart_edge())
    (folder / "tunnel.pid").write_text(str(os.getpid()))
    with tunnel:
        for path, address in sockets.items():
            tunnel.await_(_listen(path, int(address.rpartition(":")[2])))
        if told.get("refuses"):
            tunnel.await_(tunnel.edge.registrar.refused.wait())
        else:
            tunnel.wait_until_connected()
        print(READY, flush=True)
        tunnel.process.wait()


async def _listen(path: str, port: int) -> None:
    running: set[asyncio.Task[None]] = set()  # asyncio itself forgets them

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(relay(reader, writer, port))
        running.add(task)
        task.add_done_callback(running.discard)

    await asyncio.start_unix_server(accept, path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
