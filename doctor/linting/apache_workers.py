"""mod_proxy's workers: which parameters hold for an address (pure).

The first ProxyPass to an address makes its worker. A later one whose address begins with that of
an earlier one shares it, and its parameters are ignored with a line in the log:
https://httpd.apache.org/docs/2.4/mod/mod_proxy.html#workers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from doctor.linting.apache_hosts import Host
from doctor.linting.apache_parser import Directive, sections


@dataclass(frozen=True, slots=True)
class Worker:
    url: str
    parameters: Mapping[str, str]
    by: Directive


def workers(host: Host) -> tuple[Worker, ...]:
    """In the order in which they are made; the main server's come first."""
    found: list[Worker] = []
    for each, url, parameters in _makers((*host.main, *host.block)):
        if covering(found, url) is None:
            found.append(Worker(url, parameters, each))
    return tuple(found)


def covering(found: Sequence[Worker], url: str) -> Worker | None:
    """The worker of an address: the one that is the longest beginning of it."""
    fitting = [each for each in found if f"{url}/".startswith(each.url)]
    return max(fitting, key=lambda each: len(each.url), default=None)


def parameters_of(words: Sequence[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words if "=" in word)
    return {name.lower(): value for name, _, value in pairs}


def _makers(
    block: Sequence[Directive],
) -> Iterator[tuple[Directive, str, Mapping[str, str]]]:
    for each in block:
        if each.name in ("proxypass", "proxypassmatch", "balancermember"):
            yield from _made(each)
        elif each.name in ("location", "locationmatch"):
            for inner in each.block or ():
                if inner.name in ("proxypass", "proxypassmatch"):
                    yield from _made(inner)
        elif each.name == "proxy" and each.block is not None and each.args:
            yield from _made_by_section(each)


def _made(each: Directive) -> Iterator[tuple[Directive, str, Mapping[str, str]]]:
    url = next((arg for arg in each.args if "://" in arg), None)
    if url is not None and not url.startswith("balancer:"):
        yield each, url.partition("$")[0], parameters_of(each.args)


def _made_by_section(section: Directive) -> Iterator[tuple[Directive, str, Mapping[str, str]]]:
    """<Proxy http://HOST/> with ProxySet, or <Proxy balancer://NAME> with its members."""
    parameters: dict[str, str] = {}
    for each in section.block or ():
        if each.name == "balancermember":
            yield from _made(each)
        elif each.name == "proxyset":
            parameters |= parameters_of(each.args)
    url = section.args[0]
    if "://" in url and not url.startswith("balancer:") and "*" not in url:
        yield section, url, parameters


def members(host: Host, balancer: str) -> tuple[Directive, ...]:
    """The BalancerMember lines of balancer://NAME."""
    return tuple(
        each
        for section in sections((*host.main, *host.block), "proxy")
        if section.args and section.args[0].rstrip("/").lower() == balancer.lower()
        for each in section.block or ()
        if each.name == "balancermember"
    )
