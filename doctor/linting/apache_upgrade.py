"""Apache: whether an upgrade is tunnelled, and what the gateway is told (AP01 to AP09)."""

from collections.abc import Iterator

from doctor.linting.apache_case import APACHE, Case
from doctor.linting.apache_passage import Passage
from doctor.linting.apache_workers import parameters_of
from doctor.linting.family import Saw

_UPGRADES = ("websocket", "any")
_SILENCE_S = 60.0  # what a call on hold is silent for, at least
_TIMEOUT_S = 60.0  # Apache's own


def is_tunnelled(passage: Passage) -> bool:
    is_asked = passage.parameter("upgrade").lower() in _UPGRADES
    by_member = [each.args[0] for each in passage.members if each.args]
    is_ws = passage.scheme in ("ws", "wss") or any(url.startswith("ws") for url in by_member)
    return is_ws or is_asked


def _is_shared(passage: Passage) -> bool:
    """The line asks for an upgrade, and an earlier line's worker is used."""
    if passage.by is None or passage.worker is None or passage.worker.by is passage.by:
        return False
    return parameters_of(passage.by.args).get("upgrade", "").lower() in _UPGRADES


@APACHE.rule("AP01")
def upgrade_not_tunnelled(case: Case) -> Iterator[Saw]:
    """The stream is passed to http://, without upgrade=websocket.

    Why:
        mod_proxy drops Upgrade and Connection (RFC 9110 section 7.8) unless the address is ws://
        or its ProxyPass says upgrade=websocket (2.4.47 and newer). The gateway sees a plain GET
        and answers 426, 400 or 404; Twilio reports 31920.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket timeout=3600
    """
    passage = case.passage
    if case.is_stream and not is_tunnelled(passage) and not _is_shared(passage):
        if passage.shadowed is not None and "://" in " ".join(passage.shadowed.args):
            return
        yield case.saw(f"{case.path} goes to {passage.upstream}: {passage.at.place}")


@APACHE.rule("AP02")
def earlier_line_wins(case: Case) -> Iterator[Saw]:
    """An earlier ProxyPass takes the stream, and the line that is meant for it is never asked.

    Why:
        The first ProxyPass that fits takes a path, not the longest one: a line for / stands before
        everything below it.
    Fix:
        ProxyPass /voice/stream ws://127.0.0.1:8080/voice/stream   # before the line for /
        ProxyPass / http://127.0.0.1:8080/
    """
    passage = case.passage
    later = passage.shadowed
    if not case.is_stream or later is None or is_tunnelled(passage) or _is_shared(passage):
        return
    if "://" in " ".join(later.args):
        yield case.saw(f"{case.path} goes by {passage.at.place}, never by {later.place}")


@APACHE.rule("AP03")
def worker_shared(case: Case) -> Iterator[Saw]:
    """upgrade=websocket is ignored: an earlier ProxyPass to the same address has none.

    Why:
        mod_proxy keeps one worker for an address; a later ProxyPass whose address begins with
        that of an earlier one uses that worker, and its own parameters are ignored. Apache says
        so in its log at start ("worker sharing"), and nowhere else.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket   # the longer one first
        ProxyPass / http://127.0.0.1:8080/
    """
    passage = case.passage
    if case.is_stream and _is_shared(passage) and not is_tunnelled(passage) and passage.worker:
        yield case.saw(f"{passage.at.place} shares the worker of {passage.worker.by.place}")


@APACHE.rule("AP04")
def handshake_header_removed(case: Case) -> Iterator[Saw]:
    """A RequestHeader takes a header of the handshake away, or changes it.

    Why:
        Without Upgrade mod_proxy has nothing to tunnel; without Sec-WebSocket-Key, or with another
        one, the gateway refuses, or answers what Twilio did not ask. Connection does no harm here:
        mod_proxy writes its own.
    Fix:
        Delete the directive, or take the stream out of it:
        RequestHeader unset Upgrade "expr=%{REQUEST_URI} !~ m#^/voice/stream#"
    """
    if not case.is_stream:
        return
    wanted = {"upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "key"}
    for name, value in wanted.items():
        change = case.passage.header(name)
        if change is not None and change.value is not None and change.value.lower() != value:
            how = f"with {name}: {change.value}" if change.value else f"without {name}"
            yield case.saw(f"{case.path} is passed on {how}: {change.by.place}", change.by)


@APACHE.rule("AP05")
def http10_forced(case: Case) -> Iterator[Saw]:
    """The stream is passed on in HTTP/1.0, without its Upgrade.

    Why:
        force-proxy-request-1.0 was made for old applications; mod_proxy then drops Upgrade, too.
    Fix:
        SetEnvIf Request_URI "^/voice/" !force-proxy-request-1.0
    """
    if not case.is_stream:
        return
    for each in case.passage.statements("setenv", "setenvif", "setenvifnocase", "browsermatch"):
        if any(arg.partition("=")[0] == "force-proxy-request-1.0" for arg in each.args):
            is_everybody = each.name == "setenv"
            if is_everybody:
                yield case.saw(f"{case.path} is passed on in HTTP/1.0: {each.place}", each)


@APACHE.rule("AP06")
def module_missing(case: Case) -> Iterator[Saw]:
    """A module that the stream needs is not loaded.

    Why:
        ws:// needs mod_proxy_wstunnel, http:// needs mod_proxy_http; without it Apache answers 500
        ("No protocol handler was valid for the URL").
    Fix:
        a2enmod proxy proxy_http proxy_wstunnel
    """
    modules = case.config.modules
    if not case.passage.is_proxied or not modules or case.misses_includes:
        return
    is_ws = case.passage.scheme in ("ws", "wss")
    needed = "proxy_wstunnel_module" if is_ws else "proxy_http_module"
    if case.passage.scheme in ("http", "https", "ws", "wss") and needed not in modules:
        yield case.saw(f"{case.passage.at.place} needs {needed}, which no LoadModule loads")


@APACHE.rule("AP07", level="warning")
def timeout_short(case: Case) -> Iterator[Saw]:
    """A stream that is silent for a minute is cut.

    Why:
        A tunnel ends when neither side has sent anything for the longer one of two times: Timeout
        of the host (60 seconds by default), and timeout= of the ProxyPass or else ProxyTimeout. A
        call on hold is silent for longer. There is no Close frame.
    Fix:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket timeout=3600
    """
    passage = case.passage
    if not case.is_stream or not is_tunnelled(passage) or case.misses_includes:
        return
    timeout = passage.host.last("timeout")
    if timeout is None and not case.config.is_whole:  # Debian's apache2.conf has 300
        return
    own = passage.parameter("timeout") or _first(passage.host.last("proxytimeout"))
    front_s = _seconds(_first(timeout)) if timeout is not None else _TIMEOUT_S
    back_s = _seconds(own) if own else front_s
    if front_s is None or back_s is None:
        return
    if max(front_s, back_s) <= _SILENCE_S:
        what = timeout.place if timeout else "no Timeout, which is 60 seconds"
        yield case.saw(f"{case.path} is cut after {max(front_s, back_s):g} s of silence: {what}")


@APACHE.rule("AP08")
def tls_proxy_off(case: Case) -> Iterator[Saw]:
    """The gateway is asked in https, and SSLProxyEngine is off.

    Why:
        Without SSLProxyEngine Apache cannot speak TLS to what stands behind it and answers 500.
    Fix:
        SSLProxyEngine On   # in the <VirtualHost>
    """
    engine = case.passage.effective("sslproxyengine")
    is_on = engine is not None and engine.args[:1] and engine.args[0].lower() == "on"
    if not case.passage.is_proxied or is_on or case.misses_includes:
        return
    if case.passage.scheme in ("https", "wss"):
        yield case.saw(f"{case.passage.at.place} needs SSLProxyEngine On", level=case.level)


@APACHE.rule("AP09")
def tls_mismatch(case: Case) -> Iterator[Saw]:
    """The gateway's port speaks TLS and ProxyPass does not, or the other way round.

    Why:
        Plain HTTP to a TLS port, and TLS to a plain port, end in 502 or 500.
    Fix:
        ProxyPass /voice/ https://127.0.0.1:443/voice/ upgrade=websocket
    """
    passage = case.passage
    wrong = {"http": ":443", "ws": ":443", "https": ":80", "wss": ":80"}.get(passage.scheme, "")
    if passage.is_proxied and case.role != "status" and wrong and passage.address.endswith(wrong):
        yield case.saw(f"{passage.at.place} speaks {passage.scheme} to {passage.address}")


def _first(each: object) -> str:
    args = getattr(each, "args", ())
    return str(args[0]) if args else ""


def _seconds(text: str) -> float | None:
    """Apache's time: seconds, or with ms, s, mi, h."""
    for unit, factor in (("ms", 0.001), ("mi", 60.0), ("min", 60.0), ("s", 1.0), ("h", 3600.0)):
        if text.endswith(unit) and text.removesuffix(unit).isdigit():
            return int(text.removesuffix(unit)) * factor
    return float(text) if text.isdigit() else None
