"""Apache's virtual hosts, and which of them takes a request for a host (pure).

https://httpd.apache.org/docs/2.4/vhosts/details.html: of those with the best address the one with
the name, else the first of that address.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from doctor.linting.apache_parser import Config, Directive, last, sections


@dataclass(frozen=True, eq=False)
class Host:
    """A <VirtualHost> and what it inherits; or the main server, which inherits nothing."""

    at: Directive
    block: tuple[Directive, ...]
    main: tuple[Directive, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        found = [arg for each in self.block if each.name == "servername" for arg in each.args[:1]]
        found += [arg for each in self.block if each.name == "serveralias" for arg in each.args]
        return tuple(re.sub(r"^\w+://|:\d+$", "", name).lower() for name in found)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """ADDRESS:PORT; "*:443" where any address will do, "" for the main server."""
        if self.at.name != "virtualhost":
            return ("",)
        return tuple(arg.replace("_default_", "*") for arg in self.at.args) or ("*:*",)

    @property
    def has_tls(self) -> bool:
        engine = self.last("sslengine")
        return engine is not None and [arg.lower() for arg in engine.args] == ["on"]

    @property
    def told(self) -> str:
        name = f" {self.names[0]}" if self.names else ""
        where = f"({self.at.file.name}:{self.at.line})"
        is_main = self.at.name != "virtualhost"
        return f"the main server {where}" if is_main else f"{self.at.told}{name} {where}"

    def last(self, name: str) -> Directive | None:
        """A directive as it applies: the host's own, else the main server's."""
        return last(self.block, name) or last(self.main, name)

    def all(self, *names: str) -> tuple[Directive, ...]:
        """Those of the main server, then its own: the order in which Apache merges them."""
        return tuple(each for each in (*self.main, *self.block) if each.name in names)


def hosts(config: Config) -> tuple[Host, ...]:
    """The virtual hosts in their order; without any, the main server."""
    main = tuple(each for each in config.block if each.name != "virtualhost")
    found = tuple(
        Host(each, each.block or (), main) for each in sections(config.block, "virtualhost")
    )
    if found or not main:
        return found
    return (Host(main[0], main),)


def taking(found: Sequence[Host], name: str) -> tuple[Host, ...]:
    """Of each address the host that takes a name, in their order."""
    addresses = dict.fromkeys(address for each in found for address in each.addresses)
    chosen = []
    for address in addresses:
        here = [each for each in found if address in each.addresses]
        chosen.append(next((each for each in here if names_host(each, name)), here[0]))
    return tuple(each for each in found if each in chosen)


def names_host(host: Host, name: str) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in host.names)
