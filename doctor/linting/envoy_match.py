"""Which virtual host and which route of Envoy takes a request, and as what it arrives (pure).

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto; paths
are matched without their query, safe_regex as a whole.
"""

import re
from collections.abc import Iterable

from doctor.linting.go_regex import RegexRefused, RegexUnknown, compile_go
from doctor.linting.nodes import Node
from doctor.linting.ways import Request

_SPECIFIERS = ("path", "prefix", "path_separated_prefix", "safe_regex")


def virtual_host_of(route_config: Node, host: str) -> Node:
    """The name itself first, then the longest *.suffix, then the longest prefix.*, then *."""
    best, best_rank = Node(), (0, 0)
    for virtual_host in route_config["virtual_hosts"]:
        for each in virtual_host["domains"]:
            rank = _rank(each.text.lower(), host.lower())
            if rank > best_rank:
                best, best_rank = virtual_host, rank
    return best


def _rank(domain: str, host: str) -> tuple[int, int]:
    if domain == host:
        return (4, 0)
    if domain == "*":
        return (1, 0)
    if domain.startswith("*") and host.endswith(domain[1:]) and len(host) >= len(domain):
        return (3, len(domain))
    if domain.endswith("*") and host.startswith(domain[:-1]) and len(host) >= len(domain):
        return (2, len(domain))
    return (0, 0)


def matches(match: Node, request: Request) -> bool | None:
    """Whether a route's match takes a request; None where that cannot be told."""
    verdicts = [_path_matches(match, request.path)]
    verdicts += [_header_matches(each, request) for each in match["headers"]]
    if match["query_parameters"].entries or match["grpc"] or match["tls_context"]:
        verdicts.append(False)  # Twilio drops the query of a stream
    if match["runtime_fraction"] or match["dynamic_metadata"] or match["filter_state"]:
        verdicts.append(None)
    return False if False in verdicts else None if None in verdicts else True


def _path_matches(match: Node, path: str) -> bool | None:
    wanted = next((match[name] for name in _SPECIFIERS if match[name]), Node())
    text = wanted.text
    if match["safe_regex"]:
        pattern = _compiled(match["safe_regex"]["regex"].text)
        return None if pattern is None else pattern.fullmatch(path) is not None
    if match["case_sensitive"].is_false:
        text, path = text.lower(), path.lower()
    if match["path"]:
        return path == text
    if match["prefix"]:
        return path.startswith(text)
    if match["path_separated_prefix"]:
        return path == text or path.startswith(f"{text}/")
    return False if match["connect_matcher"] else None


def _header_matches(matcher: Node, request: Request) -> bool | None:
    name = matcher["name"].text.lower()
    pseudo = {":method": request.method, ":authority": request.host, ":path": request.path}
    value = pseudo.get(name, request.headers.get(name))
    if value is None and not matcher["present_match"]:
        if not matcher["treat_missing_header_as_empty"].is_true:
            return False  # and invert_match does not turn it
        value = ""
    found = _value_matches(matcher, value)
    if found is not None and matcher["invert_match"].is_true:
        return not found
    return found


def _value_matches(matcher: Node, value: str | None) -> bool | None:
    if matcher["present_match"]:
        return (value is not None) is not matcher["present_match"].is_false
    string, value = matcher["string_match"], value or ""
    for name, test in (
        ("exact", str.__eq__),
        ("prefix", str.startswith),
        ("suffix", str.endswith),
        ("contains", str.__contains__),
    ):
        wanted = string[name] or matcher[f"{name}_match"]
        if wanted:
            is_blind = string["ignore_case"].is_true
            own, theirs = (value.lower(), wanted.text.lower()) if is_blind else (value, wanted.text)
            return bool(test(own, theirs))
    regex = string["safe_regex"] or matcher["safe_regex_match"]
    if regex:
        pattern = _compiled(regex["regex"].text)
        return None if pattern is None else pattern.fullmatch(value) is not None
    return None if matcher["range_match"] or string else True


def rewritten(route: Node, path: str) -> str:
    """The path at the upstream; "" where it cannot be told."""
    action, match = route["route"], route["match"]
    if action["path_rewrite_policy"] or action["path_rewrite"]:
        return ""
    if regex := action["regex_rewrite"]:
        pattern = _compiled(regex.at("pattern", "regex").text)
        if pattern is None:
            return ""
        try:
            # RE2 writes \1 for a group, as Python does.
            return pattern.sub(regex["substitution"].text, path)
        except (re.error, IndexError):
            return ""
    if action["prefix_rewrite"].text:
        # What was matched is replaced, letter for letter: /voice by / gives //stream.
        matched = next((match[name].text for name in _SPECIFIERS[:3] if match[name].text), "")
        return action["prefix_rewrite"].text + path[len(matched) :] if matched else ""
    return path


def first(routes: Iterable[Node], request: Request) -> tuple[Node, list[Node]]:
    """The route that takes a request, and those before it that cannot be told."""
    unknown: list[Node] = []
    for route in routes:
        found = matches(route["match"], request)
        if found:
            return route, unknown
        if found is None:
            unknown.append(route)
    return Node(), unknown


def _compiled(text: str) -> re.Pattern[str] | None:
    try:
        return compile_go(text)
    except (RegexRefused, RegexUnknown):
        return None
