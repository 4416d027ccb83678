"""What OpenTelemetry's own environment variables ask for, as far as it is decided here.

The rest (endpoints, headers, certificates, timeouts, queues, samplers, resources) is read by
OpenTelemetry's SDK. Nothing is exported unless an endpoint is named: the SDK's default of
localhost would have every sidecar talk to a port that mostly nobody listens on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SIGNALS = ("traces", "metrics", "logs")
METRIC_INTERVAL_S = 60.0
_PROTOCOL = "http/protobuf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The signals to export, how often metrics are, and what can't be done, in sentences."""

    signals: tuple[str, ...] = ()
    metric_interval_s: float = METRIC_INTERVAL_S
    doubts: tuple[str, ...] = ()


def read_wanted(environ: Mapping[str, str]) -> Wanted:
    """What the environment asks for. No value is quoted that may hold a token."""
    if _value(environ, "OTEL_SDK_DISABLED").lower() == "true":
        return Wanted()
    signals, doubts = [], []
    for signal in SIGNALS:
        endpoint, named = _own_or_general(environ, signal, "ENDPOINT")
        exporter = _value(environ, f"OTEL_{signal.upper()}_EXPORTER").lower() or "otlp"
        if not endpoint or exporter == "none":
            continue
        protocol, said = _own_or_general(environ, signal, "PROTOCOL")
        if exporter != "otlp":
            doubts.append(f"OTEL_{signal.upper()}_EXPORTER is neither otlp nor none")
        elif protocol not in ("", _PROTOCOL):
            doubts.append(f"{said} is not {_PROTOCOL}, which alone is spoken (port 4318)")
        elif not endpoint.lower().startswith(("http://", "https://")):
            doubts.append(f"{named} is no URL of http:// or https://")
        else:
            signals.append(signal)
    interval_s, doubt = _interval_s(_value(environ, "OTEL_METRIC_EXPORT_INTERVAL"))
    if signals and doubt:
        doubts.append(doubt)
    return Wanted(tuple(signals), interval_s, tuple(dict.fromkeys(doubts)))


def _interval_s(text: str) -> tuple[float, str | None]:
    if not text:
        return METRIC_INTERVAL_S, None
    if text.isascii() and text.isdigit() and int(text[:12]) > 0:
        return int(text[:12]) / 1000, None
    return METRIC_INTERVAL_S, "OTEL_METRIC_EXPORT_INTERVAL is no number of milliseconds"


def _own_or_general(environ: Mapping[str, str], signal: str, what: str) -> tuple[str, str]:
    """The value for one signal, else that for all, and the name that it stands under."""
    own, general = (f"OTEL_EXPORTER_OTLP_{name}{what}" for name in (f"{signal.upper()}_", ""))
    name = own if _value(environ, own) else general
    return _value(environ, name), name


def _value(environ: Mapping[str, str], name: str) -> str:
    """Empty is as good as unset, says OpenTelemetry's specification."""
    return environ.get(name, "").strip()
