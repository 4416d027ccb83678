"""Apache: which line takes a path, who may ask, what the gateway is told (AP10 to AP22)."""

import re
from collections.abc import Iterator

from doctor.linting.apache_case import APACHE, Case
from doctor.linting.family import Saw
from doctor.linting.findings import Level
from doctor.linting.moves import level_of_move


@APACHE.rule("AP10")
def path_rewritten(case: Case) -> Iterator[Saw]:
    """The path is another one behind Apache.

    Why:
        `ProxyPass /voice/ http://HOST/` asks for /stream where Twilio asked for /voice/stream, and
        `ProxyPass /voice http://HOST/voice/` for /voice//stream; a RewriteRule may lose a prefix
        with its capture. Gateways compare paths exactly, and a webhook's signature is made over
        the public path. If webhook and stream lose the same prefix it may be meant: a warning.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket   # the same path twice
    """
    passage = case.passage
    if not passage.is_proxied or passage.target == passage.request.path or _is_glued(case):
        return
    role = "webhook" if case.role == "stream" else "stream"
    others = [each for each in case.beside if each.request.role == role and each.is_proxied]
    pair = (others[0].request.path, others[0].target) if others else None
    level = level_of_move(passage.request.path, passage.target, pair)
    level = case.level if case.role == "status" else level
    yield case.saw(f"{case.path} becomes {case.target}: {passage.at.place}", level=level)


@APACHE.rule("AP11")
def slash_missing(case: Case) -> Iterator[Saw]:
    """The path is glued to the port: Apache answers 500.

    Why:
        ProxyPass puts what is left of the path behind the address as it is. `ProxyPass /voice/
        http://127.0.0.1:8080` makes http://127.0.0.1:8080stream.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/   # both with a slash, or both without
    """
    if case.passage.is_proxied and _is_glued(case):
        yield case.saw(
            f"{case.path} becomes {case.passage.upstream}: {case.passage.at.place}",
            level=case.level,
        )


@APACHE.rule("AP12")
def path_unrouted(case: Case) -> Iterator[Saw]:
    """No ProxyPass takes the path: Apache looks for a file, and answers 404.

    Why:
        The gateway never hears of the request. Twilio reports 11200 for the webhook; when only
        the stream has no line the call begins, and ends with 31920. `ProxyPass /voice/stream !`
        takes a path out, and a RewriteRule without [PT] turns it into a file's name. A path with
        %2F is 404 unless AllowEncodedSlashes says otherwise.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket
    """
    passage = case.passage
    is_encoded = passage.ending == "answered" and passage.by is not None
    is_encoded = is_encoded and passage.code == "404" and "%2f" in passage.request.path.lower()
    if case.elsewhere is not None or case.misses_includes:
        return
    if passage.ending == "static":
        by = f": {passage.by.place}" if passage.by is not None else ""
        yield case.saw(f"{passage.host.told} passes {case.path} to nobody{by}", level=case.level)
    elif is_encoded:
        yield case.saw(f"{case.path} is answered 404 without AllowEncodedSlashes", level=case.level)


@APACHE.rule("AP13")
def path_redirected(case: Case) -> Iterator[Saw]:
    """Apache answers the path with a redirect.

    Why:
        Twilio's stream follows none: anything but 101 is 31920. Behind a tunnel that ends TLS,
        %{HTTPS} is off for everybody, and a redirect to https never ends.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket
        RewriteCond %{REQUEST_URI} !^/voice/   # before the RewriteRule that redirects
    """
    if case.passage.ending == "redirected" and case.elsewhere is None:
        level: Level | None = None if case.role == "stream" else "warning"
        told = f"{case.path} is answered {case.passage.code}: {case.passage.at.place}"
        yield case.saw(told, level=level)


@APACHE.rule("AP14")
def path_refused(case: Case) -> Iterator[Saw]:
    """Apache answers the path itself, or refuses it.

    Why:
        The gateway never hears of the request. The stream is a GET without Origin and cookies, by
        Twilio.TmeWs/1.0, the webhook a POST by TwilioProxy/1.1: rules against scanners, scripts
        and methods hit either of them; so does `Require all denied` in a <Proxy>.
    Fix:
        <Location /voice/>
            Require all granted
        </Location>
    """
    passage = case.passage
    is_encoded = "%2f" in passage.request.path.lower() and passage.code == "404"
    method = f" (asked with {passage.request.method})"
    if passage.ending == "answered" and not is_encoded and case.elsewhere is None:
        told = f"{case.path} is answered {passage.code}: {passage.at.place}{method}"
        yield case.saw(told, level=case.level)
    refused = passage.refusal if passage.is_proxied else None
    if refused is not None and not refused.wants_login and not refused.wants_address:
        told = f"{case.path} is refused: {refused.by.place}{method}"
        yield case.saw(told, refused.by, level=case.level)


@APACHE.rule("AP15")
def login_demanded(case: Case) -> Iterator[Saw]:
    """Twilio is asked for a login or a certificate that it does not have.

    Why:
        Twilio's stream sends neither Authorization nor a certificate: 401 is Twilio's 31920. A
        webhook may carry a user name and a password in its URL, hence a warning there. What
        vouches for Twilio is X-Twilio-Signature, and the gateway checks it.
    Fix:
        <Location /voice/>
            Require all granted
        </Location>
    """
    passage = case.passage
    refused = passage.refusal if passage.is_proxied else None
    if refused is not None and refused.wants_login:
        level: Level | None = None if case.role == "stream" else "warning"
        told = f"{case.path} needs a login: {refused.by.place}"
        yield case.saw(told, refused.by, level=level)
    client = passage.effective("sslverifyclient")
    if passage.host.has_tls and client is not None and client.args[:1] == ("require",):
        yield case.saw(f"{case.path} needs a client certificate: {client.place}", client)


@APACHE.rule("AP16", level="warning")
def addresses_refused(case: Case) -> Iterator[Saw]:
    """Only some addresses may ask for a voice path.

    Why:
        Twilio publishes no fixed addresses for its streams, so a list of allowed ones fails
        sooner or later.
    Fix:
        <Location /voice/>
            Require all granted
        </Location>
    """
    refused = case.passage.refusal if case.passage.is_proxied else None
    if refused is not None and refused.wants_address and not refused.wants_login:
        yield case.saw(f"{case.path} is refused to most: {refused.by.place}", refused.by)


@APACHE.rule("AP17")
def host_unserved(case: Case) -> Iterator[Saw]:
    """Requests for the public name go to another <VirtualHost> than the one with the paths.

    Why:
        A name that no ServerName or ServerAlias has goes to the first <VirtualHost> of its
        address, whatever it is for.
    Fix:
        ServerName voice.example.com   # the public name, in the <VirtualHost> with the paths
    """
    if case.elsewhere is not None:
        yield case.saw(
            f"{case.paths.host}{case.path} goes to {case.passage.host.told}; the path is in "
            f"{case.elsewhere.told}",
            case.elsewhere.at,
        )


@APACHE.rule("AP18", level="warning")
def host_replaced(case: Case) -> Iterator[Saw]:
    """The gateway is told another Host than the public one.

    Why:
        Without ProxyPreserveHost Apache sends the upstream's address, and the public name as
        X-Forwarded-Host alone. A gateway that rebuilds the public URL from Host computes another
        signature (403, Twilio 11200), and writes a stream URL that nobody can reach.
    Fix:
        ProxyPreserveHost On
    """
    passage = case.passage
    preserve = passage.effective("proxypreservehost")
    if not passage.is_proxied or case.misses_includes:
        return
    change = passage.header("host")
    is_kept = preserve is not None and [arg.lower() for arg in preserve.args] == ["on"]
    if not is_kept:
        yield case.saw(f"{case.path} is passed on with Host: {passage.address}", preserve)
    elif change is not None and change.value not in (None, passage.facts.headers.get("host")):
        told = f"{case.path} is passed on with Host: {change.value} ({change.by.place})"
        yield case.saw(told, change.by)


@APACHE.rule("AP19", level="warning")
def scheme_untold(case: Case) -> Iterator[Saw]:
    """The gateway is not told that Twilio asked for https, or is told http.

    Why:
        X-Twilio-Signature is made over the public URL, https included. A gateway that trusts
        X-Forwarded-Proto computes it over http:// and answers 403 (Twilio 11200). Apache sends
        X-Forwarded-For, -Host and -Server by itself, and not this one.
    Fix:
        RequestHeader set X-Forwarded-Proto https
    """
    passage = case.passage
    if not passage.is_proxied or case.misses_includes:
        return
    change = passage.header("x-forwarded-proto")
    if change is None and passage.host.has_tls:
        yield case.saw(f"{case.path} came by https, and is passed on without X-Forwarded-Proto")
    elif change is not None and change.value == "http":
        is_written = "http" in change.by.args[2:]
        if is_written or passage.host.has_tls or case.paths.scheme == "https":
            yield case.saw(f"{case.path} is passed on as http: {change.by.place}", change.by)


@APACHE.rule("AP20")
def signature_removed(case: Case) -> Iterator[Saw]:
    """A RequestHeader takes X-Twilio-Signature away, or changes it.

    Why:
        The gateway cannot tell Twilio from anybody else and answers 401 or 403; Twilio reports
        11200 for the webhook, 31920 for the stream.
    Fix:
        Delete the directive.
    """
    change = case.passage.header("x-twilio-signature") if case.passage.is_proxied else None
    if change is not None and change.value is not None:
        told = f"{case.path} is passed on without its signature: {change.by.place}"
        yield case.saw(told, change.by)


@APACHE.rule("AP21", level="warning")
def status_replaced(case: Case) -> Iterator[Saw]:
    """Apache puts its own pages in place of the gateway's refusals.

    Why:
        With ProxyErrorOverride a 404 or 426 of the gateway becomes an ErrorDocument: neither
        Twilio's report nor the Proxy-Status of the sidecar tells who answered.
    Fix:
        ProxyErrorOverride Off
    """
    found = case.passage.effective("proxyerroroverride")
    if case.is_stream and found is not None and found.args[:1] and found.args[0].lower() == "on":
        yield case.saw(f"{case.path}: {found.place}", found)


@APACHE.rule("AP22")
def http2_only_host(case: Case) -> Iterator[Saw]:
    """A host speaks HTTP/2 and nothing else.

    Why:
        Twilio's stream, and most tunnels, speak HTTP/1.1; Apache knows no WebSocket in HTTP/2.
    Fix:
        Protocols h2 http/1.1
    """
    found = case.passage.host.last("protocols")
    if case.role != "stream" or found is None or "http/1.1" in found.args:
        return
    if any(arg.startswith("h2") for arg in found.args):
        yield case.saw(f"{case.path} cannot be asked for in HTTP/1.1: {found.place}", found)


def _is_glued(case: Case) -> bool:
    without_ipv6 = re.sub(r"\[[^\]]*\]", "", case.passage.address)
    return re.search(r":\d+[^\d]", without_ipv6) is not None
