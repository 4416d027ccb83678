"""The live page as somebody sees it who watches calls come and fail."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from selenium.webdriver.common.keys import Keys

from browser.pages import DESKTOP, PHONE, Page, open_browser
from calls.gateways_at_work import TOKEN, at_work, run, simple_cast
from doctor.addresses import Address
from peers import KEY, RunningSidecar
from programs import PATIENCE_S, HopscopeProcess, dial, free_port
from proxy.admin import Admin
from proxy.settings import HostPort

pytestmark = pytest.mark.timeout(120)

STRIPPED = (
    b"GET /voice/stream HTTP/1.1\r\nHost: voice.example.com\r\nX-Real-IP: 203.0.113.9\r\n"
    b"Connection: close\r\nSec-WebSocket-Key: " + KEY.encode() + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\nCookie: session=s3cret-cookie\r\n\r\n"
)
MARKUP = (
    b"GET /<b>bold</b> HTTP/1.1\r\nHost: voice.example.com\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: <img src=x onerror=document.body.remove()>\r\n"
    b"X-Real-IP: 203.0.113.9\r\n\r\n"
)

# Where the rows of a card's numbers lie, and in each its chart, and in that its lines.
CHARTS = """
const box = (element) => element.getBoundingClientRect().toJSON();
return [...document.querySelectorAll("#running .chart:not([hidden])")].map((row) =>
  [row, row.querySelector("svg")].map(box).concat(
    [[...row.querySelectorAll("path[d]:not([d=''])")].map(box)]));
"""
# A line of so many values: its leftmost and rightmost place, as parts of the width.
DRAWN = """
const [count, done] = arguments;
import("/page/chart.js").then(({ Line }) => {
  const line = new Line("a number");
  for (let value = 0; value < count; value += 1) line.add(value, null);
  const path = line.svg.querySelector("path.client").getAttribute("d");
  const places = path.split(/[ML]/).slice(1).map((place) => Number(place.split(" ")[0]));
  const width = line.svg.viewBox.baseVal.width;
  done([places.length, places.at(0) / width, places.at(-1) / width]);
});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The one browser; between tests it looks at nothing, and asks no server that is gone."""
    yield browser
    browser.driver.get("about:blank")
    browser.complaints()


def _send(port: int, head: bytes) -> None:
    with dial(port) as client:
        client.sendall(head)
        while client.recv(4096):
            pass


def test_a_call_is_watched_from_its_handshake_to_its_end(
    page: Page, start_hopscope: Callable[..., HopscopeProcess]
) -> None:
    async def work() -> None:
        async with at_work(greeting="Hello. How are you?", **simple_cast("one", "two")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            await asyncio.to_thread(page.open, hopscope.admin_port)
            await asyncio.to_thread(page.until_says, "#state", "Live")
            assert page.all("#handshakes summary") == []
            through = Address("127.0.0.1", hopscope.port)
            call = asyncio.create_task(at.call("words", "words", "words", connect_to=through))
            await asyncio.to_thread(page.until_says, "#handshakes .outcome", "upgraded 101")
            await asyncio.to_thread(page.until_says, "#running .names", "CA")
            await asyncio.to_thread(page.until_says, "#way", "1 running")
            await asyncio.to_thread(page.one, "#running svg path[d]")
            await asyncio.to_thread(page.until_says, "#running .chart:not([hidden])", "jitter, ms")
            shown = await asyncio.to_thread(page.driver.execute_script, CHARTS)
            heard = await call
            call_sid = heard.report.call_sid
            await asyncio.to_thread(page.until_says, "#ended tbody", call_sid)
            await asyncio.to_thread(page.until_says, "#ended tbody", "close handshake, by")
            await asyncio.to_thread(page.until_says, "#running-count", "0")
            page.one("#handshakes summary").click()
            await asyncio.to_thread(page.one, "#handshakes .heads")
            one_time = re.findall(r'<Parameter [^>]*value="([^"]+)"', heard.report.twiml or "")
            assert one_time
            assert len(shown) > 3
            for row, chart, lines in shown:
                assert row["top"] + 2 <= chart["top"] < chart["bottom"] <= row["bottom"] - 2
                assert chart["bottom"] - chart["top"] == shown[0][1]["bottom"] - shown[0][1]["top"]
                for line in lines:
                    assert chart["top"] <= line["top"] <= line["bottom"] <= chart["bottom"]
            for secret in (TOKEN, *one_time):
                assert secret not in page.driver.page_source

    run(work, limit_s=100)
    assert page.complaints() == []
    assert len(page.requested()) == 1


@pytest.mark.parametrize(
    ("values", "drawn", "left"),
    [(1, 1, 1.0), (2, 2, 8 / 9), (10, 10, 0.0), (30, 30, 0.0), (60, 60, 0.0), (200, 60, 0.0)],
)
def test_a_line_ends_at_the_right_edge_and_fills_the_width_before_its_minute_is_full(
    page: Page, hopscope: HopscopeProcess, values: int, drawn: int, left: float
) -> None:
    page.open(hopscope.admin_port)
    page.until_says("#state", "Live")
    told = page.driver.execute_async_script(DRAWN, values)
    assert told == [drawn, pytest.approx(left, abs=0.001), pytest.approx(1.0)]


def test_a_failed_handshake_opens_into_its_heads_and_the_right_explanation(
    page: Page, hopscope: HopscopeProcess
) -> None:
    _send(hopscope.port, STRIPPED)
    page.open(hopscope.admin_port)
    summary = page.one("#handshakes summary")
    assert "not an upgrade" in summary.text
    summary.send_keys(Keys.ENTER)
    page.until_says("#handshakes .why", "HS01 upgrade-stripped")
    page.until_says("#handshakes .violated", "Connection: close")
    page.until_says("#handshakes pre", "Cookie: (present)")
    assert "s3cret" not in page.driver.page_source
    assert page.complaints() == []


def test_what_strangers_send_is_text(page: Page, hopscope: HopscopeProcess) -> None:
    _send(hopscope.port, MARKUP)
    page.open(hopscope.admin_port)
    page.until_says("#handshakes .path", "/<b>bold</b>")
    page.one("#handshakes summary").click()
    page.until_says("#handshakes pre", "Sec-WebSocket-Protocol: <img src=x")
    assert page.all("#handshakes img") == page.all("#handshakes b") == []
    assert page.complaints() == []


def test_the_list_is_filtered_and_walked_by_keys(page: Page, hopscope: HopscopeProcess) -> None:
    for head in (STRIPPED, MARKUP, STRIPPED):
        _send(hopscope.port, head)
    page.open(hopscope.admin_port)
    page.until(lambda: len(page.all("#handshakes summary")) == 3, "three handshakes")
    page.one("#by-text").send_keys("/voice/")
    page.until_says("#handshakes-count", "2 of 3")
    shown = [found for found in page.all("#handshakes summary") if found.is_displayed()]
    shown[0].send_keys(Keys.ARROW_DOWN)
    assert page.driver.switch_to.active_element == shown[1]  # and not the hidden one between
    shown[1].send_keys(Keys.SPACE)
    page.until_says("#handshakes details[open] .why", "HS01")


def test_probes_of_the_doctor_do_not_stand_between_the_calls(
    page: Page, hopscope: HopscopeProcess
) -> None:
    _send(hopscope.port, STRIPPED)
    arming = Request(f"http://127.0.0.1:{hopscope.admin_port}/api/probes", method="POST")
    with urlopen(arming, timeout=PATIENCE_S) as answer:
        probe_id = json.load(answer)["id"]
    probe = f"X-Hopscope-Probe: {probe_id}\r\nX-Real-IP".encode()
    _send(
        hopscope.port, STRIPPED.replace(b"/voice/stream", b"/probed").replace(b"X-Real-IP", probe)
    )
    page.open(hopscope.admin_port)
    page.until_says("#handshakes-count", "1 of 2")
    page.until_says("#way", "last seen")
    [shown] = [found for found in page.all("#handshakes summary") if found.is_displayed()]
    assert "/voice/stream" in shown.text
    page.one("#by-probes").click()
    page.until_says("#handshakes-count", "2")
    newest = page.all("#handshakes summary")[0]
    assert "/probed" in newest.text
    assert ", probe" in newest.text
    assert page.complaints() == []


def test_a_thousand_handshakes_stay_in_view_and_no_more(
    page: Page, sidecar: RunningSidecar
) -> None:
    page.open(sidecar.admin_port)
    page.until_says("#state", "Live")
    _send(sidecar.port, STRIPPED)
    row = sidecar.event("handshake")

    def show_all(rows: list[dict[str, Any]]) -> None:
        for each in rows:
            sidecar.sidecar.telemetry.show("handshake", each)

    for hundred in range(12):
        rows = [row | {"id": f"id-{hundred:02}-{number:02}"} for number in range(100)]
        sidecar.call(partial(show_all, rows))
        page.until_says("#handshakes-count", str(min(hundred * 100 + 101, 1000)))
    assert len(page.all("#handshakes > li")) == 1000
    assert page.complaints() == []


def test_the_doctor_is_asked_and_its_report_saved(
    hopscope: HopscopeProcess, tmp_path: Path
) -> None:
    with open_browser(downloads=tmp_path) as page:
        page.open(hopscope.admin_port)
        page.until(lambda: page.one("#doctor").is_displayed(), "the doctor's button")
        page.one("#doctor button").click()
        sentence = page.text("#diagnosis .verdict")
        page.until(lambda: page.all("#diagnosis button"), "the way to save it")[0].click()
        report = tmp_path / "hopscope-report.html"
        page.until(report.exists, "the report")
        assert sentence
        assert page.complaints() == []
    assert sentence in report.read_text()


def test_what_the_doctor_found_is_said_once(page: Page, hopscope: HopscopeProcess) -> None:
    page.open(hopscope.admin_port)
    page.until(lambda: page.one("#doctor").is_displayed(), "the doctor's button")
    page.one("#public-url").send_keys(f"http://127.0.0.1:{free_port()}")
    page.one("#doctor button").click()
    page.until_says("#diagnosis .why h3", "NE02 connection-refused")
    assert page.text("#diagnosis").lower().count("nothing listens") == 1
    assert page.all("#diagnosis .why pre")


def test_a_token_is_asked_for_and_a_wrong_one_is_not_taken(
    page: Page, sidecar: RunningSidecar
) -> None:
    admin = Admin(sidecar.sidecar, "s3cret-token")
    port = sidecar.call(lambda: admin.start(HostPort("127.0.0.1", 0))).port
    try:
        page.open(port)
        for token, wanted in (("wrong", "A token is needed."), ("s3cret-token", "Live")):
            page.until(lambda: page.one("#token").is_displayed(), "the question")
            page.one("#token-value").send_keys(token + Keys.ENTER)
            page.until_says("#state", wanted)
        page.until(lambda: not page.one("#token").is_displayed(), "the end of the question")
        assert "s3cret-token" not in page.driver.page_source
    finally:
        page.driver.get("about:blank")
        sidecar.call(admin.close)


@pytest.mark.parametrize(
    ("size", "is_dark"),
    [(DESKTOP, False), (DESKTOP, True), (PHONE, False)],
    ids=["light", "dark", "phone"],
)
def test_it_is_accessible(size: tuple[int, int], is_dark: bool, hopscope: HopscopeProcess) -> None:
    for head in (STRIPPED, MARKUP):
        _send(hopscope.port, head)
    with open_browser(size, is_dark=is_dark) as page:
        page.open(hopscope.admin_port)
        page.one("#handshakes summary").click()
        page.one("#handshakes .heads")
        assert [_short(each) for each in page.axe()] == []
        wide, inner = page.driver.execute_script(
            "return [document.documentElement.scrollWidth, innerWidth]"
        )
        assert wide <= inner, "nothing is wider than the window"


def _short(violation: dict[str, Any]) -> str:
    nodes = [node["html"][:120] for node in violation["nodes"][:3]]
    return json.dumps({"id": violation["id"], "nodes": nodes})
