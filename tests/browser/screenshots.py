"""Pictures of the live page for the docs: `PYTHONPATH=tests python -m browser.screenshots docs`.

What they show is real: calls through a sidecar, and requests that a hop has bent.
"""

import asyncio
import sys
from pathlib import Path

from browser.pages import DESKTOP, PHONE, Page, open_browser
from browser.test_live_page_shown import MARKUP, STRIPPED
from calls.gateways_at_work import AtWork, at_work, run, simple_cast
from doctor.addresses import Address
from programs import HopscopeProcess, dial

WATCHED_S = 12
PICTURES = (
    ("page-light.png", DESKTOP, False),
    ("page-dark.png", DESKTOP, True),
    ("page-phone.png", PHONE, False),
)


def _take(port: int, folder: Path) -> None:
    for name, size, is_dark in PICTURES:
        with open_browser(size, is_dark=is_dark) as page:
            page.open(port)
            page.until_says("#running .names", "CA")
            page.until(lambda page=page: _seconds_drawn(page) >= WATCHED_S, "a line of some length")
            if size == DESKTOP:
                page.until_says("#handshakes .outcome", "not an upgrade")
                bent = [each for each in page.all("summary") if "not an upgrade" in each.text]
                bent[0].click()
                page.one("#handshakes .heads")
            page.driver.save_screenshot(str(folder / name))


def _seconds_drawn(page: Page) -> int:
    script = (
        "return Math.max(0, ...[...document.querySelectorAll('#running svg path')]"
        ".map((path) => (path.getAttribute('d') ?? '').split('L').length - 1))"
    )
    return int(page.driver.execute_script(script))


def _send(port: int, head: bytes) -> None:
    with dial(port) as client:
        client.sendall(head)
        client.recv(4096)


async def _traffic(at: AtWork, hopscope: HopscopeProcess, folder: Path) -> None:
    through = Address("127.0.0.1", hopscope.port)
    for _ in range(2):
        await at.call("words", connect_to=through)
    for head in (STRIPPED, MARKUP):
        await asyncio.to_thread(_send, hopscope.port, head)
    taking = asyncio.create_task(asyncio.to_thread(_take, hopscope.admin_port, folder))
    while not taking.done():
        await at.call(*["words"] * 12, connect_to=through, limit_s=60.0)
    await taking


async def _main(folder: Path) -> None:
    async with at_work(greeting="Hello. How may I help you today?", **simple_cast("one")) as at:
        hopscope = await asyncio.to_thread(HopscopeProcess, at.address.port, "--no-history")
        try:
            await _traffic(at, hopscope, folder)
        finally:
            await asyncio.to_thread(hopscope.close)


if __name__ == "__main__":
    run(lambda: _main(Path(sys.argv[1])), limit_s=240)
