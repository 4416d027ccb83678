"""The Grafana dashboard as code.

    python deploy/grafana/dashboard.py >deploy/grafana/hopscope.json

From what callers notice, on top, to what only an operator can see. Heat maps where a quantile would
hide the two populations that a bad hop makes of one.
"""

import json
from dataclasses import dataclass
from itertools import count
from typing import Any

WIDTH = 24  # of Grafana's grid
HEIGHT = 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# A series of a rare event begins with the event: until then its panel shows zero, not "no data".
ZERO = " or vector(0)"
RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries`: PromQL and the legend of its series."""

    title: str
    kind: str  # Grafana's type of panel
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    width: int = 8
    text: str = ""


def _rate(metric: str, *labels: str, where: str = "", zero: bool = False) -> str:
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate({metric}{{{where}}}{RATE}))" + (ZERO if zero else "")


def _quantile(quantile: float, metric: str, *labels: str, where: str = "") -> str:
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({quantile}, sum by ({by}) (rate({metric}_bucket{{{where}}}{RATE})))"


def _buckets(metric: str, where: str = "") -> tuple[tuple[str, str]]:
    return ((f"sum by (le) (increase({metric}_bucket{{{where}}}{RATE}))", "{{le}}"),)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Calls",
        (
            Panel("Running calls", "stat", (("sum(hopscope_calls_active)", ""),), width=4),
            Panel("Running streams", "stat", (("sum(hopscope_sessions_active)", ""),), width=4),
            Panel(
                "Streams that never arrived",
                "stat",
                (("sum(increase(hopscope_streams_never_arrived_total[$__range]))", ""),),
                width=4,
                text="TwiML advertised them and nobody asked for them: callers heard an "
                "application error.",
            ),
            Panel(
                "Calls by ending",
                "timeseries",
                (
                    (_rate("hopscope_calls_total", "direction", "ending"), "{{ending}}"),
                    (
                        _rate("hopscope_calls_refused_total", "reason", zero=True),
                        "refused {{reason}}",
                    ),
                ),
                unit="ops",
                width=12,
            ),
            Panel(
                "Time to answer, half of the turns",
                "timeseries",
                ((_quantile(0.5, "hopscope_turn_seconds", "phase"), "{{phase}}"),),
                unit="s",
                text="From the end of the caller's speech.",
            ),
            Panel(
                "Time to first audio",
                "heatmap",
                _buckets("hopscope_turn_seconds", 'phase="first_audio"'),
                unit="s",
            ),
            Panel(
                "Speech that failed, callers who interrupted",
                "timeseries",
                (
                    (
                        _rate("hopscope_speech_failures_total", "kind", "provider", zero=True),
                        "{{kind}} {{provider}}",
                    ),
                    (_rate("hopscope_barge_ins_total"), "barge-in"),
                ),
                unit="ops",
            ),
        ),
    ),
    (
        "Handshakes",
        (
            Panel(
                "Upgrades by outcome",
                "timeseries",
                ((_rate("hopscope_handshakes_total", "outcome"), "{{outcome}}"),),
                unit="ops",
            ),
            Panel(
                "Upgrades by ingress",
                "timeseries",
                ((_rate("hopscope_handshakes_total", "ingress"), "{{ingress}}"),),
                unit="ops",
            ),
            Panel(
                "What failed",
                "table",
                (
                    (
                        "sum by (ingress, route, outcome, status) "
                        '(increase(hopscope_handshakes_total{outcome!="upgraded"}[$__range]))'
                        + ZERO,
                        "",
                    ),
                ),
            ),
            Panel(
                "Phases of a handshake, 95th percentile",
                "timeseries",
                ((_quantile(0.95, "hopscope_handshake_seconds", "phase"), "{{phase}}"),),
                unit="s",
            ),
            Panel(
                "Plain requests",
                "timeseries",
                (
                    (
                        _rate("hopscope_http_requests_total", "method", "status"),
                        "{{method}} {{status}}",
                    ),
                ),
                unit="ops",
            ),
            Panel(
                "Time of plain requests",
                "heatmap",
                _buckets("hopscope_http_request_seconds"),
                unit="s",
            ),
        ),
    ),
    (
        "Streams",
        (
            Panel(
                "Silence before a frame: client",
                "heatmap",
                _buckets("hopscope_frame_gap_seconds", 'sender="client"'),
                unit="s",
                text="Twilio sends a frame every 20 ms: what is darker elsewhere, the caller's "
                "words arrive late.",
            ),
            Panel(
                "Silence before a frame: server",
                "heatmap",
                _buckets("hopscope_frame_gap_seconds", 'sender="server"'),
                unit="s",
            ),
            Panel(
                "Time inside the sidecar",
                "heatmap",
                _buckets("hopscope_relay_seconds"),
                unit="s",
            ),
            Panel(
                "Frames",
                "timeseries",
                ((_rate("hopscope_frames_total", "sender", "opcode"), "{{sender}} {{opcode}}"),),
                unit="ops",
            ),
            Panel(
                "Payload",
                "timeseries",
                ((_rate("hopscope_frame_payload_bytes_total", "sender"), "{{sender}}"),),
                unit="Bps",
            ),
            Panel(
                "Payload of a frame",
                "heatmap",
                _buckets("hopscope_frame_payload_bytes"),
                unit="bytes",
            ),
            Panel(
                "Audio that ran dry, messages that were lost",
                "timeseries",
                (
                    (_rate("hopscope_twilio_playout_underruns_total"), "underruns"),
                    (_rate("hopscope_twilio_sequence_gaps_total"), "sequence gaps"),
                ),
                unit="ops",
            ),
            Panel(
                "Jitter of a call's media",
                "heatmap",
                _buckets("hopscope_twilio_media_jitter_seconds"),
                unit="s",
            ),
            Panel(
                "Media and marks",
                "timeseries",
                (
                    (_rate("hopscope_twilio_media_frames_total", "sender"), "media {{sender}}"),
                    (_rate("hopscope_twilio_marks_total", "state"), "marks {{state}}"),
                ),
                unit="ops",
            ),
            Panel(
                "Who closed, with which code",
                "timeseries",
                (
                    (
                        _rate("hopscope_closes_total", "sender", "code", "ending"),
                        "{{sender}} {{code}} {{ending}}",
                    ),
                ),
                unit="ops",
                text="none, reset: a hop between the ends cut the connection (1006).",
            ),
            Panel(
                "Duration of streams",
                "heatmap",
                _buckets("hopscope_session_seconds"),
                unit="s",
            ),
            Panel(
                "Streams by how they are read",
                "timeseries",
                ((_rate("hopscope_twilio_streams_total", "media_read"), "{{media_read}}"),),
                unit="ops",
            ),
        ),
    ),
    (
        "Safety and resources",
        (
            Panel(
                "Webhooks",
                "timeseries",
                ((_rate("hopscope_webhooks_total", "path", "status"), "{{path}} {{status}}"),),
                unit="ops",
            ),
            Panel(
                "Errors and warnings of Twilio's, by code",
                "timeseries",
                ((_rate("hopscope_twilio_errors_total", "code", zero=True), "{{code}}"),),
                unit="ops",
                text="From the webhook of Twilio's debugger. `hopscope twilio CALL_SID` names the "
                "hop.",
            ),
            Panel(
                "Refused",
                "timeseries",
                (
                    (
                        _rate("hopscope_signatures_refused_total", "what", zero=True),
                        "signature {{what}}",
                    ),
                    (
                        _rate("hopscope_streams_refused_total", "reason", zero=True),
                        "stream {{reason}}",
                    ),
                    (
                        _rate("hopscope_connections_refused_total", "reason", zero=True),
                        "connection {{reason}}",
                    ),
                ),
                unit="ops",
            ),
            Panel(
                "Records that could not be written",
                "timeseries",
                ((_rate("hopscope_records_dropped_total", "what", zero=True), "{{what}}"),),
                unit="ops",
            ),
            Panel(
                "CPU",
                "timeseries",
                ((f'rate(process_cpu_seconds_total{{job="hopscope"}}{RATE})', "{{instance}}"),),
                unit="percentunit",
                text="1 is one core, and a Python process has no more.",
            ),
            Panel(
                "Memory",
                "timeseries",
                (('process_resident_memory_bytes{job="hopscope"}', "{{instance}}"),),
                unit="bytes",
            ),
            Panel(
                "Open files",
                "timeseries",
                (('process_open_fds{job="hopscope"}', "{{instance}}"),),
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """What Grafana imports."""
    numbers, panels, y = count(1), [], 0
    for title, row in ROWS:
        panels.append(_row(next(numbers), title, y))
        y, x = y + 1, 0
        for panel in row:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            panels.append(_panel(next(numbers), panel, x, y))
            x += panel.width
        y += HEIGHT
    return {
        "uid": "hopscope",
        "title": "Hopscope",
        "description": "Voice calls over WebSockets: who answered, who cut, who was late.",
        "tags": ["hopscope", "twilio", "websocket"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": panels,
    }


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    at = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": at}


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    is_heat, is_table = panel.kind == "heatmap", panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + index),
            "expr": expr,
            "legendFormat": legend or "__auto",
            "format": "heatmap" if is_heat else "table" if is_table else "time_series",
            "instant": is_table,
        }
        for index, (expr, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": _heat_options(panel.unit) if is_heat else {},
    }


def _heat_options(unit: str) -> dict[str, Any]:
    """Buckets come from Prometheus; the axis shows their bounds in their unit."""
    return {"calculate": False, "yAxis": {"unit": unit}, "color": {"scheme": "Oranges"}}


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
