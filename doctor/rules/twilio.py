"""TW: what Twilio objects to. Facts of a call, and what they say about a hop.

The doctor posts no webhook, so a document of TwiML comes from `hopscope call`, or from a gateway
that answers a GET with it. What is the gateway's own is told at the gateway alone.
"""

from typing import Any

from doctor.evidence import Arrival, Exchange, Sight
from doctor.rules import rule
from doctor.rules.ways import arrived_behind, is_gateway, is_in_front, to_gateway
from proxy.stream_url import StreamUrl, parse_stream_url
from proxy.twiml import advertised_streams


def streams_in(document: str) -> list[StreamUrl]:
    """The URLs of the streams that a document of TwiML advertises."""
    return [parse_stream_url(each.url) for each in advertised_streams(document.encode())]


def _first(arrival: Arrival, name: str) -> str | None:
    """The first member of a list: what the outermost hop said."""
    value = arrival.value(name)
    return None if value is None else value.partition(",")[0].strip().lower()


def _is_secure(sight: Sight) -> bool:
    return sight.probe.hop.url.startswith("https:")


def rebuilt_url(arrival: Arrival) -> str:
    """The URL that a gateway puts together which believes the forwarding fields."""
    scheme = _first(arrival, "X-Forwarded-Proto") or "http"
    host = _first(arrival, "X-Forwarded-Host") or (arrival.value("Host") or "").lower()
    return f"{scheme}://{host}{arrival.target}"


def _asked_url(exchange: Exchange, scheme: str) -> str:
    return f"{scheme}://{(exchange.sent('Host') or '').lower()}{exchange.target}"


@rule("TW01")
def signature_url_mismatch(sight: Sight, call: dict[str, Any]) -> str | None:
    """The URL that Twilio signed is not the one that arrives.

    Why:
        Twilio signs the public URL, letter for letter. A gateway that puts it together from
        Host, X-Forwarded-Proto and the path computes another signature where a hop changed one
        of them, and refuses a genuine call: 403, at Twilio 11200 or 31920.
    Evidence:
        A signed call was refused with 401 or 403, and what arrived through this hop rebuilds
        to another URL than the one that was asked for.
    Fix nginx:
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;   # or $http_x_forwarded_proto behind TLS
        proxy_pass http://127.0.0.1:8080;             # no path behind the port
    Fix traefik:
        headers: { customRequestHeaders: { X-Forwarded-Proto: https } }   # it says wss by itself
    Fix haproxy:
        http-request set-header X-Forwarded-Proto https if { ssl_fc }
    Fix apache:
        ProxyPreserveHost On
        RequestHeader set X-Forwarded-Proto https
    Fix gateway:
        HOPSCOPE_PUBLIC_URL=https://voice.example.com   # a fixed public URL needs no headers
    Fix:
        Set the public URL in the gateway, and pass Host, scheme and path on unchanged.
    """
    status = (call.get("webhook") or {}).get("status")
    exchange = sight.probe.webhook or sight.probe.upgrade
    arrival = exchange.arrival if exchange is not None else None
    if status not in (401, 403) or exchange is None or arrival is None or not is_in_front(sight):
        return None
    asked, came = (
        _asked_url(exchange, "https" if _is_secure(sight) else "http"),
        rebuilt_url(arrival),
    )
    behind = sight.behind.webhook or sight.behind.upgrade if sight.behind else None
    inner = behind.arrival if behind is not None else None
    if came == asked or (inner is not None and rebuilt_url(inner) == came):
        return None
    return (
        f"{sight.probe.hop.name} changes the URL that is signed: {asked} was asked for, the "
        f"gateway is shown {came}, and it answered {status}"
    )


@rule("TW02")
def stream_url_query(sight: Sight, twiml: str) -> str | None:
    """The URL of the <Stream> has a query.

    Why:
        Twilio does not support query strings in a stream's URL: the request comes without it,
        or not at all (31920). A token in it never arrives.
    Evidence:
        The TwiML.
    Fix gateway:
        <Stream url="wss://voice.example.com/voice/stream">
            <Parameter name="token" value="..."/>
        </Stream>
    Fix:
        Put values into <Parameter>, or into the path.
    """
    found = [url for url in streams_in(twiml) if url.query]
    if not found or not is_gateway(sight):
        return None
    return f"{sight.probe.hop.name} advertises a stream with a query: {found[0].shown()}"


@rule("TW03")
def stream_url_not_wss(sight: Sight, twiml: str) -> str | None:
    """The URL of the <Stream> is not wss://.

    Why:
        Twilio dials nothing else and reports 31922; what is no URL at all is 31923. A gateway
        that believes that it was asked by http writes ws://.
    Evidence:
        The TwiML.
    Fix gateway:
        HOPSCOPE_PUBLIC_URL=https://voice.example.com
    Fix:
        Give the gateway its public URL with https://, and send X-Forwarded-Proto: https.
    """
    found = [url for url in streams_in(twiml) if url.scheme != "wss"]
    if not found or not is_gateway(sight) or not _is_public(sight):
        return None
    return f"{sight.probe.hop.name} advertises a stream that is not wss: {found[0].shown()}"


def _is_public(sight: Sight) -> bool:
    """A call on loopback, by plain http, may have a ws:// stream (`hopscope call` follows it)."""
    call = sight.extra.get("call")
    url = str(call.get("url", "")) if isinstance(call, dict) else ""
    return not url.startswith("http://")


@rule("TW04", level="warning")
def twiml_not_ok(sight: Sight, call: dict[str, Any]) -> str | None:
    """The webhook did not answer with TwiML.

    Why:
        Twilio reads TwiML of a 200 alone: 11200 for another status, 12100 for what is no XML,
        12300 for another Content-Type, and the caller hears "an application error has
        occurred". Without TwiML there is no stream, so nothing of it is seen here.
    Evidence:
        The status and the document of a simulated call's webhook.
    Fix gateway:
        Answer 200, Content-Type: text/xml and <Response>...</Response>.
    Fix:
        Ask the webhook by `hopscope call --json`: its `webhook` says who answered.
    """
    if not is_gateway(sight):
        return None
    webhook = call.get("webhook") or {}
    status, document = webhook.get("status"), str(call.get("twiml") or "")
    if status == 200 and "<Response" in document:
        return None
    if status is None:
        return "the webhook of a simulated call got no answer"
    what = "no TwiML" if status == 200 else f"{status}"
    return f"the webhook of a simulated call was answered with {what}"


@rule("TW05", level="warning")
def stream_never_arrived(sight: Sight, missing: tuple[dict[str, Any], ...]) -> str | None:
    """A stream was advertised to Twilio and never arrived.

    Why:
        Twilio got TwiML with a <Stream> and asked for it within seconds; a hop in front, or
        Twilio itself, stopped it. The doctor's probes show which, where the fault is still
        there.
    Evidence:
        The sidecar's own record (`stream_never_arrived` in its log and at /api/events), with
        what it knows of the reason.
    Fix:
        Compare the host and path in the TwiML with what the ingress routes; see the other
        findings.
    """
    if sight.probe.hop.kind != "sidecar" or not missing:
        return None
    last = missing[-1]
    because = ", ".join(str(fact).replace("_", " ") for fact in last.get("because", ()))
    return (
        f"{len(missing)} advertised streams never arrived at {sight.probe.hop.name}, the last: "
        f"{last.get('url')} ({because or 'unknown'})"
    )


@rule("TW06")
def stream_advertised_but_unserved(sight: Sight, twiml: str) -> str | None:
    """The gateway advertises a stream that it does not serve.

    Why:
        The TwiML and the WebSocket's handler are made by different parts of a gateway.
        OpenClaw advertises the stream whenever streaming is enabled, and has no handler where
        speech recognition is not configured: the caller hears nothing, Twilio reports 31920.
    Evidence:
        The path in the TwiML is the one that was probed, and the gateway answered something
        else than 101.
    Fix gateway:
        Configure what the stream needs (OpenClaw: plugins.voice-call streaming with an OpenAI
        key), or do not advertise it.
    Fix:
        Serve the advertised path, or advertise the served one.
    """
    exchange = to_gateway(sight)
    if exchange is None or exchange.answer is None or exchange.answer.status in (101, 401, 403):
        return None
    for url in streams_in(twiml):
        if url.path == sight.stream_path:
            return (
                f"{sight.probe.hop.name} advertises {url.shown()} and answers "
                f"{exchange.answer.status} to the upgrade there"
            )
    return None


@rule("TW07", level="warning")
def forwarded_proto_wrong(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop does not tell that its client came by https.

    Why:
        A gateway that is not told its public URL puts it together from X-Forwarded-Proto. With
        http in it, or wss (Traefik says so of upgrades), the signature is computed over another
        URL than Twilio's and the stream is advertised as ws://.
    Evidence:
        The hop was asked by https, and X-Forwarded-Proto arrived at the sidecar without https.
    Fix nginx:
        proxy_set_header X-Forwarded-Proto $scheme;
    Fix haproxy:
        http-request set-header X-Forwarded-Proto https if { ssl_fc }
    Fix apache:
        RequestHeader set X-Forwarded-Proto https
    Fix traefik:
        headers: { customRequestHeaders: { X-Forwarded-Proto: https } }   # a middleware
    Fix:
        Set X-Forwarded-Proto: https, or set the public URL in the gateway.
    """
    if not is_in_front(sight) or not _is_secure(sight):
        return None
    came, behind = _first(arrival, "X-Forwarded-Proto"), arrived_behind(sight)
    if came == "https" or "proto=https" in (arrival.value("Forwarded") or "").lower():
        return None
    if behind is not None and came is not None and _first(behind, "X-Forwarded-Proto") == came:
        return None
    said = "no X-Forwarded-Proto" if came is None else f"X-Forwarded-Proto: {came}"
    return f"{sight.probe.hop.name} was asked by https, and {said} arrived at the sidecar"


@rule("TW08", level="warning")
def advertised_elsewhere(sight: Sight, twiml: str) -> str | None:
    """The TwiML advertises another stream than the one that was probed.

    Why:
        The doctor probes the path that it was told. Twilio asks for the one in the TwiML.
    Evidence:
        No <Stream> of the TwiML has the probed path.
    Fix:
        hopscope doctor --stream-path PATH, with the path of the TwiML.
    """
    urls = streams_in(twiml)
    if not urls or not is_gateway(sight) or any(url.path == sight.stream_path for url in urls):
        return None
    return (
        f"{sight.probe.hop.name} advertises {urls[0].shown()}, and {sight.stream_path} was probed"
    )
