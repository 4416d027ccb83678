"""OpenTelemetry's variables: what is exported, what is off, and what is said of a wrong one."""

import re
from pathlib import Path

import pytest
from opentelemetry import environment_variables as of_all
from opentelemetry.sdk import environment_variables as of_the_sdk

from proxy.otel_settings import METRIC_INTERVAL_S, SIGNALS, Wanted, read_wanted

ALL = "OTEL_EXPORTER_OTLP_ENDPOINT"
URL = "http://127.0.0.1:4318"
ONLY = "is not http/protobuf, which alone is spoken (port 4318)"


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, ()),
        ({ALL: ""}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ()),
        ({ALL: URL}, SIGNALS),
        ({ALL: "HTTPS://collector.example.com"}, SIGNALS),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, ("traces",)),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": URL, ALL: ""}, ("logs",)),
        ({ALL: URL, "OTEL_METRICS_EXPORTER": "none"}, ("traces", "logs")),
        ({ALL: URL, "OTEL_LOGS_EXPORTER": " otlp "}, SIGNALS),
        ({ALL: URL, "OTEL_SDK_DISABLED": "True"}, ()),
        ({ALL: URL, "OTEL_SDK_DISABLED": "false"}, SIGNALS),
        ({ALL: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, SIGNALS),
    ],
)
def test_a_signal_is_exported_where_an_endpoint_is_named(
    environ: dict[str, str], signals: tuple[str, ...]
) -> None:
    assert read_wanted(environ) == Wanted(signals)


@pytest.mark.parametrize(
    ("environ", "signals", "doubt"),
    [
        (
            {ALL: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            (),
            f"OTEL_EXPORTER_OTLP_PROTOCOL {ONLY}",
        ),
        (
            {ALL: URL, "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"},
            ("traces", "metrics"),
            f"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL {ONLY}",
        ),
        (
            {ALL: URL, "OTEL_METRICS_EXPORTER": "prometheus"},
            ("traces", "logs"),
            "OTEL_METRICS_EXPORTER is neither otlp nor none",
        ),
        (
            {ALL: "user:secret@collector:4318"},
            (),
            "OTEL_EXPORTER_OTLP_ENDPOINT is no URL of http:// or https://",
        ),
    ],
)
def test_what_cannot_be_done_is_said_once_and_quotes_nothing(
    environ: dict[str, str], signals: tuple[str, ...], doubt: str
) -> None:
    assert read_wanted(environ) == Wanted(signals, doubts=(doubt,))


def test_the_interval_of_metrics_is_in_milliseconds() -> None:
    name = "OTEL_METRIC_EXPORT_INTERVAL"
    assert read_wanted({ALL: URL, name: "1500"}).metric_interval_s == 1.5
    for wrong in ("0", "-1", "1.5", "soon", "٣"):
        wanted = read_wanted({ALL: URL, name: wrong})
        assert wanted.metric_interval_s == METRIC_INTERVAL_S
        assert wanted.doubts == ("OTEL_METRIC_EXPORT_INTERVAL is no number of milliseconds",)
        assert read_wanted({name: wrong}).doubts == ()


def test_the_readme_names_variables_that_there_are() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    named = set(re.findall(r"\bOTEL_[A-Z_]*[A-Z]", readme))
    assert ALL in named
    assert named <= vars(of_all).keys() | vars(of_the_sdk).keys()
