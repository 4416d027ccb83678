"""Prometheus' families as OpenTelemetry's metrics: the same names, labels and buckets.

They are passed on as they were counted. OpenTelemetry's own instruments would count everything
a second time, and know no histogram that is read instead of fed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_UNITS = {"seconds": "s", "bytes": "By"}

Labels = tuple[tuple[str, str], ...]


def metrics_data(
    families: Iterable[Family], resource: Resource, scope: str, start_ns: int, now_ns: int
) -> MetricsData:
    """One request's worth. `start_ns` is when counting began, where a family does not know it."""
    metrics = [
        metric for family in families if (metric := _metric(family, start_ns, now_ns)) is not None
    ]
    scoped = ScopeMetrics(InstrumentationScope(scope), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scoped], "")])


def _metric(family: Family, start_ns: int, now_ns: int) -> Metric | None:
    created = {
        _labels(sample.labels): int(sample.value * 1e9)
        for sample in family.samples
        if sample.name == f"{family.name}_created"
    }
    name = family.name
    data: Sum | Gauge | Histogram | None = None
    match family.type:
        case "counter":
            name = f"{family.name}_total"  # as on /metrics: dashboards go by it
            points = _numbers(family, name, created, start_ns, now_ns)
            data = Sum(list(points), _CUMULATIVE, is_monotonic=True)
        case "gauge" | "unknown":
            data = Gauge(list(_numbers(family, name, created, start_ns, now_ns)))
        case "histogram":
            data = Histogram(list(_histograms(family, created, start_ns, now_ns)), _CUMULATIVE)
    if data is None or not data.data_points:
        return None
    return Metric(name, family.documentation, _unit(name), data)


def _numbers(
    family: Family, name: str, created: Mapping[Labels, int], start_ns: int, now_ns: int
) -> Iterator[NumberDataPoint]:
    for sample in family.samples:
        if sample.name == name:
            start = created.get(_labels(sample.labels), start_ns)
            yield NumberDataPoint(dict(sample.labels), start, now_ns, float(sample.value))


def _histograms(
    family: Family, created: Mapping[Labels, int], start_ns: int, now_ns: int
) -> Iterator[HistogramDataPoint]:
    groups: dict[Labels, list[Sample]] = {}
    for sample in family.samples:
        groups.setdefault(_labels(sample.labels), []).append(sample)
    for labels, samples in groups.items():
        buckets = sorted(
            (float(sample.labels["le"]), sample.value)
            for sample in samples
            if sample.name == f"{family.name}_bucket"
        )
        if not buckets:
            continue
        totals = [int(count) for _, count in buckets]  # Prometheus counts what is at most `le`
        counts = [count - below for below, count in zip([0, *totals], totals, strict=False)]
        sums = [sample.value for sample in samples if sample.name == f"{family.name}_sum"]
        unknown = cast(float, None)  # which OTLP allows, and Prometheus does not keep
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=created.get(labels, start_ns),
            time_unix_nano=now_ns,
            count=totals[-1],
            sum=sums[0] if sums else 0.0,
            bucket_counts=counts,
            explicit_bounds=[bound for bound, _ in buckets if bound != math.inf],
            min=unknown,
            max=unknown,
        )


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in labels.items() if name != "le"))


def _unit(name: str) -> str:
    return _UNITS.get(name.removesuffix("_total").rpartition("_")[2], "")
