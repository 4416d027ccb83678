"""nginx: which location takes a path, and what the path becomes behind it (NG10 to NG19)."""

import re
from collections.abc import Iterator

from doctor.linting.family import Saw
from doctor.linting.findings import Level
from doctor.linting.moves import level_of_move
from doctor.linting.nginx_case import NGINX, Case
from doctor.linting.nginx_passage import normalised_target

_UNROUTED = ("try_files", "internal")


def _is_changed(case: Case) -> bool:
    target = case.passage.target
    is_other = target not in ("", case.passage.request.path)
    return case.passage.is_proxied and is_other and "$" not in target


def _is_only_normalised(case: Case) -> bool:
    """The change is what nginx's own normalisation makes of the path, or the query is gone."""
    normalised = normalised_target(case.passage.request.path)
    return case.passage.target in (normalised, normalised.partition("?")[0])


def _loses_queries(case: Case) -> bool:
    """proxy_pass is made of variables, and none of them has the query."""
    if not case.passage.is_proxied or "$" not in case.passage.at.args[0]:
        return False
    has_path = re.search(r"://[^/]+/|\$(document_)?uri\b", case.passage.at.args[0])
    query = re.search(r"\$\{?(args|query_string|request_uri|is_args)\b", case.passage.at.args[0])
    return has_path is not None and query is None


def _level(case: Case) -> Level | None:
    """All paths with one prefix less are an arrangement; what is changed alone is a slip."""
    if case.role == "status":
        return case.level
    other = case.other("webhook" if case.role == "stream" else "stream")
    pair = (other.request.path, other.target) if other is not None and other.is_proxied else None
    return level_of_move(case.passage.request.path, case.passage.target, pair)


@NGINX.rule("NG10")
def prefix_replaced(case: Case) -> Iterator[Saw]:
    """proxy_pass has a path, and replaces the location's own with it.

    Why:
        With `location /voice/` and `proxy_pass http://HOST/;` the gateway is asked for /stream
        where Twilio asked for /voice/stream; with `proxy_pass http://HOST/x;` the two are glued
        into /xstream. Gateways compare paths exactly, and a webhook's signature is made over the
        public path. If webhook and stream lose the same prefix it may be meant: a warning then.
    Fix:
        proxy_pass http://127.0.0.1:8080;   # no slash, no path: the request goes on as it came
    """
    if _is_changed(case) and not case.passage.rewrites and not _is_only_normalised(case):
        yield case.saw(
            f"{case.passage.place} has {case.passage.at.told}: {case.path} becomes {case.target}",
            level=_level(case),
        )


@NGINX.rule("NG11")
def path_rewritten(case: Case) -> Iterator[Saw]:
    """A rewrite changes the path before it is passed on.

    Why:
        The gateway is asked for another path than Twilio asked for, and computes the signature
        over another URL than Twilio signed. If webhook and stream are rewritten alike it may be
        meant: a warning then.
    Fix:
        Take the voice paths out of it with a location of their own, before which nothing is
        rewritten:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    """
    if _is_changed(case) and case.passage.rewrites:
        rewrite = case.passage.rewrites[-1]
        yield case.saw(
            f"{rewrite.place}: {case.path} becomes {case.target}",
            rewrite,
            level=_level(case),
        )


@NGINX.rule("NG12")
def path_normalised(case: Case) -> Iterator[Saw]:
    """What is passed on is nginx's reading of the request: decoded, or without its query.

    Why:
        Where proxy_pass has a path, nginx decodes %2F, merges slashes and resolves dots before it
        puts the rest behind it. Where it has variables, what they hold is all that is sent: $uri
        has no query. The gateway gets other bytes than Twilio asked for and signed.
    Fix:
        proxy_pass http://127.0.0.1:8080;   # no path: the request goes on as it came
        proxy_pass http://$gateway$request_uri;   # with variables
    """
    if _is_changed(case) and not case.passage.rewrites and _is_only_normalised(case):
        yield case.saw(
            f"{case.passage.at.told}: {case.path} becomes {case.target}", level=case.level
        )
    elif _loses_queries(case):
        yield case.saw(f"{case.passage.at.told} drops the query of {case.path}", level="warning")


@NGINX.rule("NG13")
def path_unrouted(case: Case) -> Iterator[Saw]:
    """No location passes the path on: nginx looks for a file, and answers 404.

    Why:
        The gateway never hears of the request. Twilio reports 11200 for the webhook; when only
        the stream has no location the call begins, and ends with 31920.
    Fix:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    """
    passage = case.passage
    by = passage.by.name if passage.by is not None else ""
    if case.elsewhere is not None:
        return
    if passage.ending == "static":
        taken = f"{passage.place} takes {case.path}, and passes nothing on"
        text = taken if passage.chain else f"no location of {passage.place} takes {case.path}"
    elif passage.ending == "answered" and by in _UNROUTED:
        text = f"{passage.place} takes {case.path}, and answers {passage.code} by {by}"
    else:
        return
    if not passage.has_unknown_include():
        yield case.saw(text, level=case.level)


@NGINX.rule("NG14")
def path_redirected(case: Case) -> Iterator[Saw]:
    """nginx answers the path with a redirect.

    Why:
        Twilio's stream follows none: anything but 101 is 31920. A webhook is asked again at the
        new place, which costs time, and some redirects turn its POST into a GET without a body.
        Behind a tunnel that ends TLS, a redirect to https never ends.
    Fix:
        Let https reach a server{} that passes the path on; before the redirect:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    """
    if case.passage.ending == "redirected" and case.elsewhere is None:
        by = case.passage.at
        slash = " (to the path with a slash)" if by.name == "location" else ""
        level: Level | None = None if case.role == "stream" else "warning"
        yield case.saw(
            f"{case.path} is answered {case.passage.code} by {by.place}{slash}", level=level
        )


@NGINX.rule("NG15")
def path_answered(case: Case) -> Iterator[Saw]:
    """nginx answers the path itself.

    Why:
        The gateway never hears of the request. A default server's `return 404`, a check of the
        method or of the client's name, or a maintenance page took it.
    Fix:
        Give the voice paths a location of their own, which passes them on:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    """
    passage = case.passage
    is_ours = passage.at.name not in _UNROUTED and case.elsewhere is None
    if passage.ending == "answered" and is_ours:
        method = f" (asked with {passage.request.method})"
        yield case.saw(
            f"{case.path} is answered {passage.code} by {passage.at.place}{method}",
            level=case.level,
        )


@NGINX.rule("NG16")
def host_unserved(case: Case) -> Iterator[Saw]:
    """Requests for the public name go to another server{} than the one with the paths.

    Why:
        nginx chooses the server{} by address and name before it looks at the path; a name that no
        server_name has goes to the default server of that address, mostly the first one.
    Fix:
        server_name voice.example.com;   # the public name, in the server{} that has the paths
    """
    if case.elsewhere is not None:
        yield case.saw(
            f"{case.paths.host}{case.path} goes to {case.passage.server.told}; the path is in "
            f"{case.elsewhere.told}",
            case.elsewhere.directive.last("server_name") or case.elsewhere.directive,
        )


@NGINX.rule("NG17")
def resolver_missing(case: Case) -> Iterator[Saw]:
    """proxy_pass has a variable and a name, and there is no resolver.

    Why:
        A name in a proxy_pass with variables is looked up at every request, by `resolver` alone:
        not even localhost or /etc/hosts is known without one. nginx starts, and answers 502 "no
        resolver defined to resolve".
    Fix:
        resolver 127.0.0.53;   # or name an upstream{} or an IP address
    """
    passage = case.passage
    if not passage.is_proxied or "$" not in passage.at.args[0] or passage.group is not None:
        return
    name = passage.host.rpartition("@")[2].partition(":")[0]
    is_name = any(character.isalpha() for character in name) and "$" not in passage.host
    is_unix = passage.host.startswith(("unix:", "["))
    # Without http{} in sight an upstream{} or a resolver may be elsewhere.
    is_all_known = passage.server.has_http and not passage.has_unknown_include()
    if is_name and not is_unix and is_all_known and passage.effective("resolver") is None:
        yield case.saw(f"{passage.at.place} needs a resolver for {name}", level=case.level)


@NGINX.rule("NG18")
def tls_mismatch(case: Case) -> Iterator[Saw]:
    """The upstream's port speaks TLS and proxy_pass does not, or the other way round.

    Why:
        Plain HTTP to a TLS port ends in 400 or 502 ("upstream prematurely closed connection"), TLS
        to a plain port in 502 ("wrong version number").
    Fix:
        proxy_pass https://HOST:443;   # or http:// to the port that speaks it
    """
    passage = case.passage
    if not passage.is_proxied or case.role == "status":
        return
    group = passage.group
    addresses = [each.args[0] for each in group.all("server")] if group else [passage.host]
    wrong = {"http": ":443", "https": ":80"}.get(passage.scheme, "")
    for address in addresses:
        if wrong and address.endswith(wrong):
            yield case.saw(f"{passage.at.place} speaks {passage.scheme} to {address}")


@NGINX.rule("NG19", level="warning")
def http2_only_listener(case: Case) -> Iterator[Saw]:
    """An address without TLS is told to speak HTTP/2.

    Why:
        Before nginx 1.25.1 such a listener speaks nothing but HTTP/2, and sends its preface to
        whoever asks in HTTP/1.1. Tunnels, and most of what stands in front of nginx, do.
    Fix:
        listen 127.0.0.1:8000;   # http2 only beside ssl
    """
    if not case.is_stream:
        return
    for listen in case.passage.server.listens:
        if "http2" in listen.flags and "ssl" not in listen.flags and listen.directive:
            yield case.saw(f"{listen.directive.place} has no ssl", listen.directive)
