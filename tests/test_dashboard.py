"""Metrics, dashboard and alerts are three lists of the same names."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from gateway.events import Events
from test_metrics import NAMES

DEPLOY = Path(__file__).parent.parent / "deploy"
FILE = DEPLOY / "grafana" / "hopscope.json"
METRIC = re.compile(r"\bhopscope_\w+")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket",), "gauge": ("",)}


def _as_code() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboard", DEPLOY / "grafana" / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expressions() -> list[str]:
    """Every query of the dashboard."""
    panels = json.loads(FILE.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _gateways_names() -> set[str]:
    metrics: list[Metric] = list(Events().registry.collect())
    return {
        metric.name + suffix
        for metric in metrics
        if metric.name.startswith("hopscope_")
        for suffix in _SUFFIXES[metric.type]
    }


KNOWN = set(NAMES) | _gateways_names()
# Counted by the sidecar before a request is read; tests/test_metrics.py has no panel in mind.
KNOWN |= {"hopscope_connections_refused_total", "hopscope_records_dropped_total"}


def test_the_file_is_what_the_code_prints() -> None:
    assert json.loads(FILE.read_text()) == _as_code().dashboard()


def test_every_metric_has_a_panel_and_no_panel_asks_for_another() -> None:
    assert set(METRIC.findall(" ".join(expressions()))) == KNOWN


def test_panels_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(FILE.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_measured_and_says_how_bad_it_is(rule: dict[str, Any]) -> None:
    assert set(METRIC.findall(rule["expr"])) <= KNOWN
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]


def test_every_alert_is_tried() -> None:
    tried = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]
    cases = [case for test in tried for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
    quiet = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert fires == quiet == {rule["alert"] for rule in _rules()}
