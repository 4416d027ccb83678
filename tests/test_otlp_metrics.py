"""Prometheus' families become OpenTelemetry's metrics and lose nothing on the way."""

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from collector import point_of
from proxy.otlp_metrics import metrics_data

START, NOW = 1_000, 2_000


def sent(families: list[Family]) -> dict[str, Any]:
    """The metrics as OTLP's messages, by name."""
    data = metrics_data(families, Resource({}), "hopscope", START, NOW)
    [of_resource] = encode_metrics(data).resource_metrics
    [of_scope] = of_resource.scope_metrics
    return {metric.name: metric for metric in of_scope.metrics}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def collected(registry: CollectorRegistry) -> dict[str, Any]:
    return sent(list(registry.collect()))


def test_a_counter_is_a_growing_sum_that_knows_when_it_began(registry: CollectorRegistry) -> None:
    counter = Counter("hopscope_closes", "Closes.", ["sender", "code"], registry=registry)
    counter.labels("client", "1000").inc(3)
    counter.labels("server", "1001").inc()
    metric = collected(registry)["hopscope_closes_total"]
    assert (metric.description, metric.unit) == ("Closes.", "")
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == 2  # cumulative
    point = point_of(metric, sender="client", code="1000")
    assert (point.as_double, point.time_unix_nano) == (3, NOW)
    assert point.start_time_unix_nano > START  # Prometheus' client keeps the time of each


def test_a_gauge_is_a_gauge(registry: CollectorRegistry) -> None:
    Gauge("hopscope_sessions_active", "Running.", registry=registry).set(2)
    metric = collected(registry)["hopscope_sessions_active"]
    assert point_of(metric).as_double == 2
    assert metric.WhichOneof("data") == "gauge"


def test_a_histogram_keeps_its_buckets_sum_and_count(registry: CollectorRegistry) -> None:
    name = "hopscope_handshake_seconds"
    histogram = Histogram(name, "Phases.", ["phase"], buckets=(0.1, 1), registry=registry)
    for value in (0.05, 0.1, 0.5, 3, 4, 5):
        histogram.labels("head").observe(value)
    metric = collected(registry)[name]
    point = point_of(metric, phase="head")
    assert list(point.explicit_bounds) == [0.1, 1]
    assert list(point.bucket_counts) == [2, 1, 3]
    assert (point.count, point.sum) == (6, pytest.approx(12.65))
    assert (metric.unit, metric.histogram.aggregation_temporality) == ("s", 2)
    assert not point.HasField("min")
    assert not point.HasField("max")


def test_a_family_that_does_not_know_its_beginning_is_as_old_as_the_export() -> None:
    family = HistogramMetricFamily("hopscope_frame_payload_bytes", "Payload.")
    family.add_metric([], [("125.0", 1.0), ("+Inf", 1.0)], 100)
    metric = sent([family])["hopscope_frame_payload_bytes"]
    assert point_of(metric).start_time_unix_nano == START
    assert metric.unit == "By"


def test_what_holds_nothing_or_is_no_number_is_left_out(registry: CollectorRegistry) -> None:
    Counter("hopscope_calls", "None yet.", ["ending"], registry=registry)
    Info("hopscope_build", "A text.", registry=registry).info({"version": "1"})
    assert collected(registry) == {}
