"""The RPC by which cloudflared registers: Cap'n Proto, on the first stream of each connection."""

import asyncio
import json
import socket
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import capnp

SCHEMA = capnp.load(str(Path(__file__).with_name("registration.capnp")))


class Registrar:
    """What the edge says to who registers. `refuses` is the reason where it does not let them in.

    cloudflared asks again for ever where the reason begins with "Unauthorized".
    """

    def __init__(self, refuses: str = "", is_remote: bool = False) -> None:
        self.refuses = refuses
        self.is_remote = is_remote
        self.refused = asyncio.Event()


_Server: Any = SCHEMA.Registration.Server


class Registration(_Server):  # type: ignore[misc]
    """The edge's end of the RPC of one connection."""

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar
        self.told: dict[str, Any] = {}
        self.registered = asyncio.Event()
        self.unregistered = asyncio.Event()

    async def registerConnection_context(self, context: Any) -> None:  # noqa: N802 - pycapnp's
        asked = context.params
        client = asked.options.client
        self.told |= {
            "account": asked.auth.accountTag,
            "tunnel": str(uuid.UUID(bytes=asked.tunnelId)),
            "connector": str(uuid.UUID(bytes=client.clientId)),
            "version": client.version,
            "features": list(client.features),
        }
        result = context.results.result.result
        if self._registrar.refuses:
            refusal = result.init("error")
            refusal.cause, refusal.shouldRetry = self._registrar.refuses, False
            self._registrar.refused.set()
            return
        details = result.init("details")
        details.uuid = uuid.uuid4().bytes
        details.locationName = "lab01"
        details.remotelyManaged = self._registrar.is_remote
        self.registered.set()

    async def unregisterConnection_context(self, context: Any) -> None:  # noqa: N802
        self.unregistered.set()

    async def updateLocalConfiguration_context(self, context: Any) -> None:  # noqa: N802
        self.told["config"] = json.loads(bytes(context.params.config))


async def serve(
    registration: Registration,
    receive: Callable[[], Awaitable[bytes]],
    send: Callable[[bytes], Awaitable[None]],
) -> None:
    """Speak the RPC over a stream until it ends. pycapnp wants a socket: it gets one of a pair."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    connection = await capnp.AsyncIoStream.create_connection(sock=theirs)
    server = capnp.TwoPartyServer(connection, bootstrap=registration)

    async def inward() -> None:
        while data := await receive():
            await loop.sock_sendall(ours, data)
        ours.shutdown(socket.SHUT_WR)

    async def outward() -> None:
        while data := await loop.sock_recv(ours, 65536):
            await send(data)

    with ours:
        tasks = [asyncio.create_task(work()) for work in (inward, outward)]
        tasks.append(asyncio.ensure_future(server.on_disconnect()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            # Nobody may wait for the socket any more when its number is free for another.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
