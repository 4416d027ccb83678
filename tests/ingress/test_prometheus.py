"""A real Prometheus scrapes a real run, and every panel of the dashboard has something to show."""

import asyncio
import json
import math
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client import start_http_server

from calls.gateways_at_work import AtWork, at_work, run, simple_cast
from doctor.addresses import Address
from gateway.addresses import HostPort
from programs import ROOT, HopscopeProcess, dial, end, free_port, require, wait_for_port
from test_dashboard import expressions

DEPLOY = ROOT / "deploy" / "prometheus"
PATIENCE_S = 40.0

pytestmark = pytest.mark.timeout(150)


@pytest.mark.parametrize(
    "command",
    [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=lambda command: command[0],
)
def test_promtool_takes_the_alerts(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [require("promtool"), *command], cwd=DEPLOY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration() -> None:
    command = [require("promtool"), "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A running one, asked by its API."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, query: str) -> list[float]:
        """The values of the series that a query gives now; none before Prometheus is ready."""
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{urlencode({'query': query})}"
        try:
            with urlopen(url, timeout=10) as answer:
                told = json.load(answer)
        except HTTPError as error:
            error.close()
            if error.code != 503:
                raise
            return []
        assert told["status"] == "success"
        return [float(series["value"][1]) for series in told["data"]["result"]]

    async def until(self, query: str, is_so: Callable[[list[float]], Any]) -> list[float]:
        """Ask again, bounded, with each scrape."""
        values: list[float] = []
        for _ in range(int(PATIENCE_S * 2)):
            values = await asyncio.to_thread(self.ask, query)
            if is_so(values):
                return values
            await asyncio.sleep(0.5)  # half of the interval between scrapes
        raise AssertionError(f"{query} gives {values}")


@contextmanager
def running_prometheus(folder: Path, sidecar: int, gateway: int) -> Iterator[Prometheus]:
    """The configuration of deploy/, asking every second, and these ports."""
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "alerts.yml")]
    parts = config["scrape_configs"][0]["static_configs"]
    for part, metrics in zip(parts, (sidecar, gateway), strict=True):
        part["targets"] = [f"127.0.0.1:{metrics}"]
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [
            *(require("prometheus"), f"--config.file={file}", "--log.level=error"),
            *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
        ]
    )
    try:
        wait_for_port(port)
        yield Prometheus(port)
    finally:
        end(process)


async def _some_of_everything(at: AtWork, hopscope: HopscopeProcess) -> None:
    """A call in a turn, and what goes wrong of a day."""
    through = Address("127.0.0.1", hopscope.port)
    heard = await at.call("words", connect_to=through)
    assert heard.report.twilio_error is None
    beside = AtWork(at.gateway, HostPort("127.0.0.1", hopscope.port), [])
    assert (await beside.post("/voice/webhook", {"CallSid": "CA0"}, token="wrong")).status == 403
    with dial(hopscope.port) as no_http:
        no_http.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        no_http.recv(1)


def test_every_panel_has_data(
    start_hopscope: Callable[..., HopscopeProcess], tmp_path: Path
) -> None:
    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast("one")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            gateways = free_port()
            server, thread = start_http_server(
                gateways, "127.0.0.1", registry=at.gateway.events.registry
            )
            try:
                with running_prometheus(tmp_path, hopscope.admin_port, gateways) as prometheus:
                    await prometheus.until("sum(up)", lambda values: values == [2.0])
                    await _some_of_everything(at, hopscope)
                    # A rate needs two scrapes of a series, and the second must differ.
                    calls = "sum(hopscope_calls_total)"
                    await prometheus.until(calls, lambda values: values == [1.0])
                    await _some_of_everything(at, hopscope)
                    await prometheus.until(calls, lambda values: values == [2.0])
                    for expression in expressions():
                        query = expression.replace("$__rate_interval", "1m")
                        await prometheus.until(
                            query.replace("$__range", "1m"),
                            lambda values: values and not any(map(math.isnan, values)),
                        )
            finally:
                server.shutdown()
                server.server_close()
                thread.join()

    run(work, limit_s=120)
