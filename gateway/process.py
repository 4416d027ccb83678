"""The gateway as a process: what it is asked to say at start, signals, and an orderly end.

SIGTERM and SIGINT drain: no new calls, running ones may end within gateway.drain_seconds. A second
one closes them at once, as going away.
"""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest

from gateway.addresses import HostPort
from gateway.events import Listener
from gateway.gateway import Gateway
from gateway.settings import GatewaySettings


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings, *listeners: Listener
) -> AsyncIterator[tuple[Gateway, HostPort]]:
    """A gateway that listens; `listeners` are told its events. Raises OSError."""
    gateway = Gateway(settings)
    for listener in listeners:
        gateway.events.listen(listener)
    address = await _start(gateway)
    if settings.allow_unsigned and not settings.warnings:
        who = "any program on this machine can place and answer calls"
        gateway.events.say("doubt", "warning", about=f"allow_unsigned: {who}")
    for doubt in settings.warnings:
        gateway.events.say("doubt", "warning", about=doubt)
    gateway.events.say(
        "gateway", listen=str(address), public_url=str(settings.public), pid=os.getpid()
    )
    try:
        yield gateway, address
    finally:
        await gateway.close()


async def serve(
    settings: GatewaySettings,
    *listeners: Listener,
    on_start: Callable[[Gateway], None] = lambda _: None,
) -> None:
    """Run until a signal says otherwise. Raises OSError."""
    async with running_gateway(settings, *listeners) as (gateway, _), _metrics(gateway):
        on_start(gateway)
        stop, hurry = asyncio.Event(), asyncio.Event()
        _on_signals(lambda: (hurry if stop.is_set() else stop).set())
        await stop.wait()
        gateway.events.say("draining", seconds=settings.drain_seconds)
        draining = asyncio.create_task(gateway.drain())
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        hurrying.cancel()


async def _start(gateway: Gateway) -> HostPort:
    try:
        return await gateway.start()
    except OSError as error:
        await gateway.close()
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there; choose another with --listen"
        raise OSError(f"gateway.listen = {gateway.settings.listen}: {reason}") from None


@asynccontextmanager
async def _metrics(gateway: Gateway) -> AsyncIterator[None]:
    """Prometheus' text at gateway.metrics, apart from the port that the internet reaches."""
    address = gateway.settings.metrics
    if address is None:
        yield
        return

    async def metrics(_request: web.Request) -> web.Response:
        text = generate_latest(gateway.events.registry)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address).start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(f"gateway.metrics = {address}: {reason}") from None
        yield
    finally:
        await runner.cleanup()


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(stop))
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
