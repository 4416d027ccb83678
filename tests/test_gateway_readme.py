"""gateway/README.md lists what there is: settings with their defaults, metrics, providers."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from gateway.events import Events
from gateway.sections import AgentSettings, EarsName, VoiceName
from gateway.settings import GatewaySettings

README = (Path(__file__).parent.parent / "gateway" / "README.md").read_text()
[TOML] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


def _names(model: Any) -> dict[str, Any]:
    """Every setting, tables in tables."""
    names: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        is_table = isinstance(kind, type) and issubclass(kind, BaseModel)
        names[name] = _names(kind) if is_table else None
    return names


def _keys(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _keys(value) if isinstance(value, dict) else None for name, value in table.items()
    }


def test_the_settings_block_holds_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOPSCOPE_PUBLIC_URL", raising=False)
    assert GatewaySettings(**tomllib.loads(TOML)["gateway"]) == GatewaySettings()
    shown = tomllib.loads(re.sub(r"^# (\w+ = .*)$", r"\1", TOML, flags=re.MULTILINE))["gateway"]
    assert _keys(shown) == _names(GatewaySettings)
    GatewaySettings(**shown)


def test_the_metrics_table_is_complete() -> None:
    ours = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Events().registry.collect()
    }
    table = README.split("\n| metric |", 1)[1]
    assert set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == ours


def test_every_provider_and_path_is_named() -> None:
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| (.*) \|$", README, re.MULTILINE))
    agents = get_args(AgentSettings.model_fields["provider"].annotation)
    for setting, names in (
        ("voice", get_args(VoiceName)),
        ("ears", get_args(EarsName)),
        ("agent.provider", agents),
    ):
        assert set(re.findall("`([a-z]+)`", rows[setting])) == set(names)
    for path in (*GatewaySettings().paths.model_dump().values(), "/calls", "/healthz"):
        assert f" {path}`" in README
