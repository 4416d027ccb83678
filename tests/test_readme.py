"""The README lists what the program has: settings with their defaults, metrics, outcomes, verbs."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

import hopscope
from doctor.linting.kinds import LINTERS
from proxy.exchange import OUTCOMES
from proxy.metrics import Metrics
from proxy.promises import ArrivalFact
from proxy.settings import RouteSettings, Settings
from proxy.stream_url import UrlFact

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TOML = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


def _uncommented(text: str) -> str:
    """The block with the settings that it shows commented out."""
    return re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)


def _rows(heading: str) -> set[str]:
    """The first cells, in backquotes, of the table whose header row starts so."""
    table = README.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE))


def test_the_settings_block_holds_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    written = tomllib.loads(TOML[0])
    shown = tomllib.loads(_uncommented(TOML[0]))
    assert Settings(**written) == Settings()

    def names(model: Any) -> set[str]:
        return set(model.model_fields)

    assert set(shown) | {"route"} == names(Settings)
    for section in ("limits", "media", "history"):
        assert set(shown[section]) == names(Settings.model_fields[section].annotation)


def test_the_route_block_is_accepted_and_names_every_setting_of_a_route() -> None:
    [route] = tomllib.loads(TOML[1])["route"]
    assert RouteSettings(**route).route().rewritten("/stream?a=b") == "/voice/stream?a=b"
    missing = set(RouteSettings.model_fields) - set(route)
    assert all(f"{name} =" in TOML[1] or f"or {name}" in TOML[1] for name in missing), missing


def test_the_metrics_table_is_complete() -> None:
    class NoRelay:
        pairs: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it
        times = [0] * 13
        times_sum = 0.0

    metrics = Metrics(NoRelay())  # type: ignore[arg-type]
    ours = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in metrics.registry.collect()
        if family.name.startswith("hopscope_")
    }
    assert _rows("metric") == ours


def test_the_outcomes_table_is_complete() -> None:
    assert _rows("`outcome`") == set(OUTCOMES)


def test_the_table_of_facts_is_complete() -> None:
    assert _rows("`because`") == {*get_args(UrlFact), *get_args(ArrivalFact)}


def test_every_verb_is_mentioned() -> None:
    for command in hopscope.app.registered_commands:
        assert command.callback is not None
        assert f"hopscope {command.callback.__name__}" in README


def test_every_kind_of_configuration_that_is_linted_is_named() -> None:
    [told] = re.findall(r"`hopscope lint` says(.*?)\n\n", README, re.DOTALL)
    assert [kind for kind in LINTERS if kind not in told.lower()] == []
