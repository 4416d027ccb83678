"""nginx's server{} blocks, and which of them takes a request for a host (pure).

http://nginx.org/en/docs/http/request_processing.html: of the servers that listen on the address
the one with the name, else the default one of that address.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from doctor.linting.nginx_parser import Config, Directive


@dataclass(frozen=True, slots=True)
class Listen:
    """One `listen`. `address` is HOST:PORT, "*:80" where only a port is given."""

    directive: Directive | None
    address: str
    flags: frozenset[str]

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    @property
    def is_loopback(self) -> bool:
        return self.address.startswith(("127.", "localhost:", "[::1]:", "unix:"))


@dataclass(frozen=True)
class Server:
    """A server{} and the statements around it: those of its http{}, or of a file included there."""

    directive: Directive
    http: tuple[Directive, ...]
    has_http: bool  # the http{} is in sight, and so is what it sets

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(arg for each in self.directive.all("server_name") for arg in each.args)

    @cached_property
    def listens(self) -> tuple[Listen, ...]:
        found = [_listen(each) for each in self.directive.all("listen") if each.args]
        return tuple(found) or (Listen(None, "*:80", frozenset()),)

    @property
    def has_tls(self) -> bool:
        old = self.directive.last("ssl")  # until nginx 1.25.1
        is_on = old is not None and old.args == ("on",)
        return is_on or any("ssl" in listen.flags for listen in self.listens)

    @property
    def told(self) -> str:
        name = next((name for name in self.names if name not in ("_", "")), "")
        listen = self.listens[0].address
        return f"server {name or listen} ({self.directive.file.name}:{self.directive.line})"


def servers(config: Config) -> tuple[Server, ...]:
    """All of HTTP, in their order. Locations without a server{} are a fragment of one."""
    found = []
    has_http = any(each.name == "http" for each in config.block)
    for http, block in _http_blocks(config):
        found += [Server(each, http, has_http) for each in block if each.name == "server"]
    if not found and _is_fragment(config.block):
        first = config.block[0]
        body = config.block
        if not any(each.name == "location" for each in body):
            body = (Directive("location", ("/",), first.file, first.line, body),)
        found = [Server(Directive("server", (), first.file, first.line, body), (), has_http)]
    return tuple(found)


def _http_blocks(config: Config) -> Iterable[tuple[tuple[Directive, ...], tuple[Directive, ...]]]:
    """The statements of each http{}; the file itself where it is included in one."""
    blocks = [each.block or () for each in config.block if each.name == "http"]
    for block in blocks or [config.block]:
        yield tuple(each for each in block if each.name != "server"), block


def _is_fragment(block: Sequence[Directive]) -> bool:
    names = {each.name for each in block}
    return bool(names & {"location", "proxy_pass"}) and "http" not in names


def taking(found: Sequence[Server], host: str) -> tuple[Server, ...]:
    """Of each address the server that takes the host, in their order."""
    addresses = dict.fromkeys(listen.address for each in found for listen in each.listens)
    chosen = {id(_of_address(found, address, host)) for address in addresses}
    return tuple(each for each in found if id(each) in chosen)


def names_host(server: Server, host: str) -> bool:
    """Whether one of its names is the host's."""
    return _rank(server.names, host) is not None


def share_address(one: Server, other: Server) -> bool:
    return bool({each.address for each in one.listens} & {each.address for each in other.listens})


def _of_address(found: Sequence[Server], address: str, host: str) -> Server:
    here = [
        (each, listen) for each in found for listen in each.listens if listen.address == address
    ]
    ranked = [(rank, each) for each, _ in here if (rank := _rank(each.names, host)) is not None]
    if ranked:
        return min(ranked, key=lambda pair: pair[0])[1]
    defaults = [each for each, listen in here if listen.flags & {"default_server", "default"}]
    return defaults[0] if defaults else here[0][0]


def _rank(names: Sequence[str], host: str) -> tuple[int, int] | None:
    """How well names fit: exact, longest *.name, longest name.*, regular expression, not at all."""
    host = host.lower()
    best: tuple[int, int] | None = None
    for name in names:
        rank = _rank_of(name.lower() if not name.startswith("~") else name, host)
        if rank is not None and (best is None or rank < best):
            best = rank
    return best


def _rank_of(name: str, host: str) -> tuple[int, int] | None:
    if name == host:
        return (0, 0)
    if name.startswith("~"):
        try:
            return (3, 0) if re.search(python_regex(name[1:]), host, re.IGNORECASE) else None
        except re.error:
            return None
    if name.startswith(".") and (host == name[1:] or host.endswith(name)):
        return (0, 0) if host == name[1:] else (1, -len(name))
    if name.startswith("*.") and host.endswith(name[1:]) and host != name[1:]:
        return (1, -len(name))
    if name.endswith(".*") and host.startswith(name[:-1]):
        return (2, -len(name))
    return None


def python_regex(pattern: str) -> str:
    """PCRE's spelling of a named group, as Python's `re` wants it."""
    return re.sub(r"\(\?<(?![=!])", "(?P<", pattern)


def _listen(directive: Directive) -> Listen:
    address, *flags = directive.args
    if address.startswith("unix:"):
        return Listen(directive, address, frozenset(flags))
    if address.isdigit():
        address = f"*:{address}"
    elif ":" not in address.removeprefix("[").rpartition("]")[2] and not address.isdigit():
        address = f"{address}:80"
    return Listen(directive, address.replace("0.0.0.0:", "*:"), frozenset(flags))
