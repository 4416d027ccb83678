"""nginx: names, who may ask, how much and how long (NG20 to NG29)."""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from doctor.linting.family import Saw
from doctor.linting.findings import Level
from doctor.linting.nginx_case import NGINX, Case, seconds, size_bytes
from doctor.linting.nginx_parser import Directive

SILENCE_S = 60.0  # what a call on hold is silent for, at least; nginx's default is as long
_READ_TIMEOUT_S = 60.0
_STREAMS_MIN = 20  # at a time, from one address: a tunnel's, mostly
_BURST_MIN = 5  # webhook, stream and callbacks come within a second
_BODY_MIN_BYTES = 64 << 10
_HEAD_MIN_BYTES = 4 << 10
# What stands in front of nginx on the same machine or network: tunnels, load balancers.
_NEAR = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
    )
)


@NGINX.rule("NG20", level="warning")
def host_replaced(case: Case) -> Iterator[Saw]:
    """The gateway is told another Host than the public one.

    Why:
        Without a proxy_set_header Host nginx sends $proxy_host, the upstream's address. A gateway
        that rebuilds the public URL from Host computes another signature (403, Twilio 11200), and
        writes a stream URL into TwiML that nobody can reach.
    Fix:
        proxy_set_header Host $http_host;
    """
    passage = case.passage
    found = case.header("host")
    if not passage.is_proxied or case.may_be_elsewhere(found):
        return
    if found is None:
        if case.header("x-forwarded-host") is None:
            yield case.saw(f"{case.path} is passed on with Host: {passage.host}")
        return
    public = {case.paths.host, passage.variables.get("host"), *passage.server.names} - {None, ""}
    value = case.header_value(found)
    name, _, port = (value or "").partition(":")
    is_own = re.match(r"\$\{?(host|http_host|server_name|http_x_forwarded_host)\b", found.args[1])
    if port and port != "443" and value and is_own:
        yield case.saw(f"{case.path} is passed on with a port in its Host: {found.told}", found)
    elif value is not None and not is_own and name not in public:
        yield case.saw(f"{case.path} is passed on with Host: {value} ({found.told})", found)


@NGINX.rule("NG21", level="warning")
def scheme_untold(case: Case) -> Iterator[Saw]:
    """The gateway is not told that Twilio asked for https, or is told http.

    Why:
        X-Twilio-Signature is made over the public URL, https included. A gateway that trusts
        X-Forwarded-Proto computes it over http:// and answers 403 (Twilio 11200). Where TLS ends
        before nginx, $scheme is http, and hides what the tunnel said.
    Fix:
        proxy_set_header X-Forwarded-Proto $scheme;   # where TLS ends in this server{}
        proxy_set_header X-Forwarded-Proto https;     # where it ends in front of nginx
    """
    passage = case.passage
    found = case.header("x-forwarded-proto")
    if not passage.is_proxied or case.may_be_elsewhere(found):
        return
    if found is None:
        if passage.server.has_tls:
            yield case.saw(f"{case.path} came by https, and is passed on without X-Forwarded-Proto")
        return
    is_known_https = passage.server.has_tls or case.paths.scheme == "https"
    is_written_http = found.args[1].lower() == "http"
    if case.header_value(found) == "http" and (is_written_http or is_known_https):
        yield case.saw(f"{case.path} is passed on as http ({found.told})", found)


@NGINX.rule("NG22", level="warning")
def read_timeout_short(case: Case) -> Iterator[Saw]:
    """A stream that is silent for a minute is cut.

    Why:
        proxy_read_timeout (60s by default) ends an upgraded connection when neither side has sent
        anything for so long: a call on hold, a gateway that waits. There is no Close frame, and
        nginx logs it at level info only. proxy_send_timeout and send_timeout do not count here.
    Fix:
        proxy_read_timeout 1h;
    """
    if not case.is_stream:
        return
    found = case.passage.effective("proxy_read_timeout")
    if case.may_be_elsewhere(found):
        return
    limit_s = seconds(" ".join(found.args)) if found else _READ_TIMEOUT_S
    if limit_s is not None and limit_s <= SILENCE_S:
        written = found.told if found else "no proxy_read_timeout, which is 60s"
        yield case.saw(f"{case.passage.place}: {written}, for {case.path}", found)


@NGINX.rule("NG23")
def login_demanded(case: Case) -> Iterator[Saw]:
    """Twilio is asked for a login that it does not have.

    Why:
        Twilio's stream sends no Authorization, no cookie and no certificate: 401 is Twilio's
        31920. A webhook may carry a user name and a password in its URL, hence a warning there.
        What vouches for Twilio is X-Twilio-Signature, and the gateway checks it.
    Fix:
        auth_basic off;      # in the location of the voice paths
        auth_request off;
    """
    passage = case.passage
    if passage.ending not in ("proxied", "handled"):
        return
    level: Level | None = None if case.role == "stream" else "warning"
    for name in ("auth_basic", "auth_jwt", "auth_request"):
        found = passage.effective(name)
        if found is not None and found.args and found.args[0] != "off":
            # The service that auth_request asks may let Twilio through: only it knows.
            told = "warning" if name == "auth_request" else level
            yield case.saw(f"{case.path} needs a login: {found.place}", found, level=told)
    client = passage.server.directive.last("ssl_verify_client")
    if client is not None and client.args == ("on",):
        yield case.saw(f"{case.path} needs a client certificate: {client.place}", client)


@NGINX.rule("NG24")
def addresses_refused(case: Case) -> Iterator[Saw]:
    """Addresses or methods are refused on a voice path.

    Why:
        Twilio publishes no fixed addresses for its streams, so a list of allowed ones fails sooner
        or later (a warning); `deny all` alone, or a method that is not allowed, fails at once: 403.
    Fix:
        allow all;   # in the location of the voice paths; the signature says who asks
    """
    passage = case.passage
    if passage.ending not in ("proxied", "handled"):
        return
    rules = next((found for each in reversed(passage.scopes) if (found := _access(each))), [])
    allowed: list[str] = []
    for each in rules:
        if each.args == ("all",):
            if each.name == "deny" and not any(_is_near(address) for address in allowed):
                told = f"but for {', '.join(allowed)}" if allowed else "for everybody"
                level: Level | None = "warning" if allowed else case.level
                yield case.saw(f"{case.path} is refused {told}: {each.place}", each, level=level)
            return
        if each.name == "allow" and each.args:
            allowed.append(each.args[0])


@NGINX.rule("NG25", level="warning")
def requests_limited(case: Case) -> Iterator[Saw]:
    """A limit on requests or connections that a few calls reach.

    Why:
        A stream is one connection for as long as the call; webhook, stream and callbacks of a
        call come within a second; behind a tunnel all of them come from one address. Beyond the
        limit nginx answers 503, which Twilio reports as 11200 or 31920.
    Fix:
        Take the voice paths out of the limit, or:
        limit_conn ZONE 1000;
        limit_req zone=ZONE burst=100 nodelay;
    """
    if not case.passage.is_proxied:
        return
    for found in case.passage.effective_all("limit_conn"):
        if case.role == "stream" and _number(found.args[-1:]) < _STREAMS_MIN:
            yield case.saw(f"{case.path} is limited: {found.place}", found)
    for found in case.passage.effective_all("limit_req"):
        burst = [arg[6:] for arg in found.args if arg.startswith("burst=")]
        if (_number(burst) if burst else 0) < _BURST_MIN:
            yield case.saw(f"{case.path} is limited: {found.place}", found)


@NGINX.rule("NG26", level="warning")
def status_replaced(case: Case) -> Iterator[Saw]:
    """nginx puts its own pages in place of the gateway's refusals.

    Why:
        With proxy_intercept_errors a 404 or 426 of the gateway becomes an error_page, perhaps with
        status 200: neither Twilio's report nor the Proxy-Status of the sidecar tells who answered.
    Fix:
        proxy_intercept_errors off;   # in the location of the voice paths
    """
    found = case.passage.effective("proxy_intercept_errors")
    pages = case.passage.effective_all("error_page")
    if case.is_stream and found is not None and found.args == ("on",) and pages:
        yield case.saw(f"{found.place} and {pages[0].told}", found)


@NGINX.rule("NG27", level="warning")
def webhook_retried(case: Case) -> Iterator[Saw]:
    """A webhook that failed is posted again to another upstream.

    Why:
        nginx repeats a POST only where non_idempotent says so; then a gateway may take one call
        for two.
    Fix:
        proxy_next_upstream error timeout;
    """
    found = case.passage.effective("proxy_next_upstream")
    if found is None or case.role != "webhook" or not case.passage.is_proxied:
        return
    if "non_idempotent" in found.args:
        yield case.saw(f"{case.path}: {found.place}", found)


@NGINX.rule("NG28", level="warning")
def requests_too_long(case: Case) -> Iterator[Saw]:
    """Twilio's requests may be longer than is allowed.

    Why:
        A webhook's form has some kilobytes, more with custom parameters; a body beyond
        client_max_body_size is answered 413, a head beyond large_client_header_buffers 400 or 414.
    Fix:
        client_max_body_size 1m;               # both are the defaults
        large_client_header_buffers 4 8k;
    """
    if not case.passage.is_proxied:
        return
    body = case.passage.effective("client_max_body_size")
    size = size_bytes(body.args[0]) if body is not None and body.args else None
    if case.role == "webhook" and body and size is not None and 0 < size < _BODY_MIN_BYTES:
        yield case.saw(f"{case.path}: {body.place}", body)
    head = case.passage.effective("large_client_header_buffers")
    size = size_bytes(head.args[1]) if head is not None and len(head.args) == 2 else None
    if case.role == "stream" and head and size is not None and size < _HEAD_MIN_BYTES:
        yield case.saw(f"{case.path}: {head.place}", head)


def _access(scope: Sequence[Directive]) -> list[Directive]:
    """allow and deny are one list, inherited whole or not at all."""
    return [each for each in scope if each.name in ("allow", "deny")]


def _is_near(address: str) -> bool:
    if address == "unix:":
        return True
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return False
    return any(
        network.version == each.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in _NEAR
    )


def _number(args: Sequence[str]) -> float:
    """A directive's number; endless where it is no number (a variable)."""
    return int(args[0]) if args and args[0].isdigit() else float("inf")
