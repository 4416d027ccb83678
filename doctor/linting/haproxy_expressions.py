"""HAProxy's samples, ACLs and formats for one request: what is known without running it (pure).

https://docs.haproxy.org/2.6/configuration.html section 7. A sample is a text, or None where it is
not known; a condition is true, false, or None.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from doctor.linting.haproxy_parser import Line
from doctor.linting.ways import Request

ReadFile = Callable[[str], str | None]
_PREDEFINED: Mapping[str, str] = {
    "TRUE": "always_true",
    "FALSE": "always_false",
    "HTTP": "always_true",
    "HTTP_1.0": "always_false",
    "HTTP_1.1": "always_true",
    "HTTP_2.0": "always_false",
    "HTTP_URL_SLASH": "always_true",
    "HTTP_URL_ABS": "always_false",
    "METH_GET": "method GET HEAD",
    **{f"METH_{name}": f"method {name}" for name in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS")},
    "METH_CONNECT": "method CONNECT",
    "METH_TRACE": "method TRACE",
}
_COMPARISONS = ("eq", "ge", "gt", "le", "lt")
# What a proxy in mode tcp cannot ask for.
_OF_HTTP = re.compile(r"(req\.)?(f?hdr|cook)|path|url|base|method|query|http_|req\.ver")
_FETCH = re.compile(r"(?P<name>[\w.]+)(?:\((?P<args>(?:[^()]|\([^()]*\))*)\))?(?:,(?P<rest>.*))?")
_CONVERTER = re.compile(r"(?P<name>\w+)(?:\((?P<args>(?:[^()]|\([^()]*\))*)\))?(?:,(?P<rest>.*))?")
_HEADERS = ("hdr", "fhdr", "req.hdr", "req.fhdr")


@dataclass(slots=True)
class State:
    """A request while rules change it. A header that is None has a value that is not known."""

    request: Request
    has_tls: bool
    path: str | None
    query: str
    headers: dict[str, str | None]
    read_file: ReadFile
    is_tcp: bool = False  # mode tcp: nothing of HTTP is known
    source: str | None = None  # the client's address
    status: str | None = None  # of the answer, while rules for answers run
    acls: list[Line] = field(default_factory=list)
    variables: dict[str, str | None] = field(default_factory=dict)

    @property
    def target(self) -> str | None:
        return None if self.path is None else f"{self.path}{self.query}"

    def change_target(self, target: str | None) -> None:
        self.path, mark, query = (None, "", "") if target is None else target.partition("?")
        self.query = f"{mark}{query}"


def state_of(request: Request, *, has_tls: bool, read_file: ReadFile) -> State:
    path, mark, query = request.path.partition("?")
    known = {name: value or "key" for name, value in request.headers.items() if name != "host"}
    headers: dict[str, str | None] = {"host": request.host or None, **known}
    headers["x-twilio-signature"] = "signature"
    return State(request, has_tls, path, f"{mark}{query}", headers, read_file)


def holds(condition: Sequence[str], state: State) -> bool | None:
    """`if` or `unless` and its terms, at the end of a line; true where there are none."""
    if not condition:
        return True
    known = _any(_all(terms, state) for terms in _split(condition[1:]))
    return known if condition[0] == "if" or known is None else not known


def condition_of(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """A line without its condition, and the condition."""
    for place, word in enumerate(words):
        if word in ("if", "unless"):
            return words[:place], words[place:]
    return words, ()


def names_in(condition: Sequence[str], state: State) -> str:
    """The samples that a condition asks for, its ACLs spelled out."""
    words = [word.lstrip("!") for word in condition]
    spelled = [" ".join(acl.words[2:]) for acl in state.acls if acl.words[1] in words]
    return " ".join((*words, *spelled))


def sample(expression: str, state: State) -> str | None:
    """A fetch and its converters: "path,regsub(^/voice,)"."""
    match = _FETCH.fullmatch(expression)
    if match is None:
        return None
    value = _fetched(match["name"], match["args"] or "", state)
    rest = match["rest"]
    while rest and value is not None:
        match = _CONVERTER.fullmatch(rest)
        if match is None:
            return None
        value = _converted(match["name"], match["args"] or "", value, state)
        rest = match["rest"]
    return value


def formatted(text: str, state: State) -> str | None:
    """A log-format string: "%[path]x". None where a part of it is not known."""
    result = ""
    place = 0
    for match in re.finditer(r"%%|%\[((?:[^\[\]]|\[[^\]]*\])*)\]|%", text):
        result += text[place : match.start()]
        place = match.end()
        value = "%" if match[0] == "%%" else sample(match[1], state) if match[1] else None
        if value is None:
            return None
        result += value
    return result + text[place:]


def substituted(pattern: str, replacement: str, text: str) -> str | None:
    """replace-path and the like: where it matches, the whole text gives way; \\1 is a group."""
    try:
        match = re.search(pattern, text)
    except (re.error, OverflowError, RecursionError):
        return None
    return text if match is None else _expanded(match, replacement)


def _expanded(match: re.Match[str], replacement: str) -> str:
    def group(found: re.Match[str]) -> str:
        number = int(found[1])
        return (match[number] or "") if number <= len(match.groups()) else ""

    return re.sub(r"\\([0-9])", group, replacement)


def _split(words: Sequence[str]) -> list[list[str]]:
    terms: list[list[str]] = [[]]
    for word in words:
        if word in ("||", "or"):
            terms.append([])
        else:
            terms[-1].append(word)
    return terms


def _any(known: Iterable[bool | None]) -> bool | None:
    values = list(known)
    return True if True in values else None if None in values else False


def _all(words: Sequence[str], state: State) -> bool | None:
    values: list[bool | None] = []
    place = 0
    is_negated = False
    while place < len(words):
        word = words[place]
        place += 1
        while word.startswith("!"):
            is_negated, word = not is_negated, word[1:]
        if not word:
            continue
        if word == "{":
            end = words.index("}", place) if "}" in words[place:] else len(words)
            value = _acl(words[place:end], state)
            place = end + 1
        else:
            value = _named(word, state)
        values.append(value if value is None or not is_negated else not value)
        is_negated = False
    return False if False in values else None if None in values else True


def _named(name: str, state: State) -> bool | None:
    """An ACL by its name: true where one of its lines is."""
    lines = [each for each in state.acls if each.words[1] == name]
    if not lines:
        written = _PREDEFINED.get(name)
        return _acl(written.split(), state) if written else None
    return _any(_acl(each.words[2:], state) for each in lines)


def _acl(words: Sequence[str], state: State) -> bool | None:
    """A criterion, its flags and patterns."""
    if not words:
        return None
    criterion, flags, patterns = words[0], "", list(words[1:])
    method = ""
    while patterns and re.fullmatch(r"-[a-z]|--", patterns[0]):
        flag = patterns.pop(0)
        if flag in ("-m", "-f", "-M", "-u"):
            argument = patterns.pop(0) if patterns else ""
            if flag == "-m":
                method = argument
            elif flag == "-f":
                listed = state.read_file(argument)
                if listed is None:
                    return None
                patterns += [each for each in listed.split() if not each.startswith("#")]
        elif flag == "--":
            break
        flags += flag[1]
    expression, method = _without_method(criterion, method)
    method = "ip" if expression == "src" and not method else method
    name = expression.partition("(")[0].partition(",")[0]
    value = sample(expression, state)
    if name.startswith("http_auth"):
        return False
    if value is None:
        return None
    if name in _HEADERS and (method == "found" or not patterns):
        return _is_present(expression, state)
    if method == "found":
        return value != ""
    if not patterns:
        return value not in ("", "0")
    return _matches(method, value, patterns, ignore_case="i" in flags)


def _without_method(criterion: str, method: str) -> tuple[str, str]:
    """path_beg is path with -m beg; hdr_sub(host) is hdr(host) with -m sub."""
    match = re.match(r"((?:req\.)?\w+?)_(beg|end|sub|dir|dom|reg|len|cnt)(?=$|[(,])", criterion)
    known = ("path", "url", "base", "hdr", "req.hdr", "req.fhdr", "fhdr", "ssl_fc_sni", "urlp")
    if match is None or match[1] not in known:
        return criterion, method
    return criterion[: match.end(1)] + criterion[match.end() :], method or match[2]


def _is_present(expression: str, state: State) -> bool:
    match = _FETCH.fullmatch(expression)
    name = (match["args"] or "").partition(",")[0].lower() if match else ""
    return name in state.headers


def _matches(method: str, value: str, patterns: Sequence[str], *, ignore_case: bool) -> bool | None:
    if method == "ip":
        return _any(_is_within(value, pattern) for pattern in patterns)
    if method in ("cnt", "len", "int", "bool") or patterns[0] in _COMPARISONS:
        return None
    if method == "reg":
        return _any(_searched(pattern, value, ignore_case=ignore_case) for pattern in patterns)
    if ignore_case:
        value, patterns = value.lower(), [pattern.lower() for pattern in patterns]
    if method == "beg":
        return value.startswith(tuple(patterns))
    if method == "end":
        return value.endswith(tuple(patterns))
    if method == "sub":
        return any(pattern in value for pattern in patterns)
    if method in ("dir", "dom"):
        edges = "/?" if method == "dir" else "/?.:"
        return any(_is_between(value, pattern, edges) for pattern in patterns)
    return value in patterns


def _is_within(address: str, network: str) -> bool | None:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return None


def _searched(pattern: str, value: str, *, ignore_case: bool) -> bool | None:
    try:
        return bool(re.search(pattern, value, re.IGNORECASE if ignore_case else 0))
    except (re.error, OverflowError, RecursionError):
        return None


def _is_between(value: str, pattern: str, edges: str) -> bool:
    """A whole part of a path or a name."""
    edge = re.escape(edges)
    bare = re.escape(pattern.strip(edges))
    return re.search(f"(^|[{edge}]){bare}($|[{edge}])", value) is not None


def _fetched(name: str, args: str, state: State) -> str | None:
    request = state.request
    if state.is_tcp and _OF_HTTP.match(name):
        return None
    if name in _HEADERS:
        return state.headers.get(args.partition(",")[0].lower(), "")
    if name == "var":
        return state.variables.get(args)
    if name in ("path", "pathq", "url", "capture.req.uri"):
        return state.path if name == "path" else state.target
    values: dict[str, str | None] = {
        "base": None if not state.headers.get("host") else f"{state.headers['host']}{state.path}",
        "method": request.method,
        "query": state.query[1:],
        "ssl_fc": "1" if state.has_tls else "0",
        "ssl_fc_sni": request.host or None,
        "req.ssl_sni": request.host or None,
        "req_ssl_sni": request.host or None,
        "src": state.source,
        "status": state.status,
        "req.ver": "1.1",
        "always_true": "1",
        "always_false": "0",
        "http_first_req": "1",
        "str": args,
        "bool": "1" if args in ("1", "true", "on") else "0",
        "int": args,
    }
    if name in ("urlp", "url_param", "cook", "req.cook"):
        return ""
    return values.get(name)


def _converted(name: str, args: str, value: str, state: State) -> str | None:
    if name in ("lower", "upper"):
        return value.lower() if name == "lower" else value.upper()
    if name == "host_only":
        return re.sub(r":\d+$", "", value)
    if name == "regsub":
        pattern, _, rest = args.partition(",")
        replacement, _, flags = rest.partition(",")
        return _regsub(pattern.strip("'\""), replacement.strip("'\""), flags, value)
    if name in ("field", "word"):
        number, _, mark = args.partition(",")
        parts = value.split(mark or ",")
        parts = [part for part in parts if part] if name == "word" else parts
        is_there = number.isdigit() and 0 < int(number) <= len(parts)
        return parts[int(number) - 1] if is_there else ""
    if name.startswith("map"):
        return _mapped(name.partition("_")[2], args, value, state)
    return None


def _regsub(pattern: str, replacement: str, flags: str, value: str) -> str | None:
    try:
        compiled = re.compile(pattern, re.IGNORECASE if "i" in flags else 0)
        count = 0 if "g" in flags else 1
        return compiled.sub(lambda match: _expanded(match, replacement), value, count=count)
    except (re.error, OverflowError, RecursionError):
        return None


def _mapped(method: str, args: str, value: str, state: State) -> str | None:
    """A file of keys and values; the longest key counts for beginnings."""
    file, _, default = args.partition(",")
    listed = state.read_file(file)
    if listed is None:
        return None
    rows = [row.split(maxsplit=1) for row in listed.splitlines() if row[:1] not in ("", "#")]
    pairs = [(row[0], row[1].strip()) for row in rows if len(row) == 2]
    if method == "beg":
        pairs.sort(key=lambda pair: -len(pair[0]))
    for key, mapped in pairs:
        is_match = _matches(method or "str", value, [key], ignore_case=False)
        if is_match is None:
            return None
        if is_match:
            return mapped
    return default or None
