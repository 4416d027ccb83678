"""hopscope.toml as Hopscope reads it: what it refuses, its routes, its gateway (pure).

The models are the program's own, filled from the file alone: no environment, no flags. What those
may add is not in the file, so its absence is no defect of the file.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from doctor.linting.family import Saw
from doctor.linting.nodes import Node
from doctor.linting.toml_lines import read_toml
from gateway.settings import GatewaySettings
from proxy.refusals import names_within, nearest
from proxy.routes import Route
from proxy.settings import RouteSettings, Settings

GATEWAY = "gateway"
Place = tuple[str | int, ...]
# HOPSCOPE_PUBLIC_URL mostly says it, and without one a gateway listens on loopback alone.
_ELSEWHERE = {"public_url": "https://voice.example.com"}
_SHOWN_MAX = 80  # characters of a value that was refused


@dataclass(frozen=True, slots=True)
class Refusal:
    """A setting with which Hopscope does not start. `place` leads to it from the top."""

    place: Place
    node: Node
    is_unknown: bool
    is_together: bool  # every setting is fine alone
    text: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A route and where it stands: of the default upstream its key."""

    route: Route
    node: Node

    @property
    def name(self) -> str:
        return f"route '{self.route.name}'"


@dataclass(frozen=True, slots=True)
class Config:
    """`settings` and `gateway` are None where they were refused, the latter where it is absent."""

    root: Node
    file: Path
    refusals: tuple[Refusal, ...]
    routes: tuple[Placed, ...]
    settings: Settings | None
    gateway: GatewaySettings | None

    @property
    def prefix(self) -> str:
        """The path of the gateway's public URL, which an ingress may take away."""
        url = self.gateway.public_url if self.gateway and self.public_url else None
        return url.prefix if url else ""

    @property
    def public_url(self) -> Node:
        return self.root[GATEWAY]["public_url"]

    @property
    def is_routing(self) -> bool:
        """Whether all routes are known; without any, --upstream or `hopscope up` names one."""
        return bool(self.routes) and not any(
            refusal.place[:1] in (("route",), ("upstream",)) for refusal in self.refusals
        )

    def leads_to_gateway(self, route: Route) -> bool:
        """Whether an upstream is the gateway of this very file."""
        if self.gateway is None:
            return False
        listen = self.gateway.listen
        theirs = listen._replace(host=route.upstream.host)
        return route.upstream.port == listen.port and (
            theirs == listen or (theirs.is_loopback and listen.is_loopback)
        )

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line or 1)


def read_config(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    root = read_toml(text)
    values = tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    table = values.pop(GATEWAY, None)
    settings, errors = _filled(Settings, values)
    refusals = [_refusal(root, (), Settings, error) for error in errors]
    gateway = None
    if isinstance(table, dict):
        gateway, errors = _filled(GatewaySettings, _ELSEWHERE | table)
        refusals += [_refusal(root, (GATEWAY,), GatewaySettings, error) for error in errors]
    elif table is not None:
        text = f"{GATEWAY} = {_shown(table)}: should be a table, [{GATEWAY}]"
        refusals.append(Refusal((GATEWAY,), root[GATEWAY], False, False, text))
    routes = tuple(_routes(root, values))
    return Config(root, file, tuple(refusals), routes, settings, gateway)


def _filled(model: type[Any], values: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    class Written(model):  # type: ignore[misc]  # of a model that is an argument
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: object, **__: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (InitSettingsSource(settings_cls, dict(values)),)

    try:
        return Written(), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _routes(root: Node, values: Mapping[str, Any]) -> Iterator[Placed]:
    """Those that are fine by themselves, in their order."""
    written = values.get("route")
    if isinstance(written, list):
        for item, node in zip(written, root["route"], strict=True):
            route = _route(item)
            if route is not None:
                yield Placed(route, node)
    if "upstream" in values:
        default = _route({"name": "default", "upstream": values["upstream"]})
        if default is not None:
            yield Placed(default, root["upstream"])


def _route(values: object) -> Route | None:
    try:
        return RouteSettings.model_validate(values).route()
    except ValidationError:
        return None


def _refusal(root: Node, above: Place, model: type[BaseModel], error: Any) -> Refusal:
    is_key = error["loc"][-1:] == ("[key]",)  # pydantic's mark of a wrong name
    place = error["loc"][: -1 if is_key else None]
    name = re.sub(r"[\x00-\x1f\x7f]", "?", ".".join(_named(root, (*above, *place))))
    message = error["msg"].removeprefix("Value error, ")
    node = node_at(root, (*above, *place))
    is_unknown = error["type"] == "extra_forbidden"
    if is_unknown:
        known = [*names_within(model, place[:-1]), *([GATEWAY] if not above else [])]
        text = f"{name}: there is no such setting{nearest(str(place[-1]), known)}"
        return Refusal((*above, *place), node, True, False, text)
    is_table = isinstance(error["input"], dict | BaseModel)
    if error["type"] in ("missing", "value_error") and is_table:
        text = f"{name}: {message}" if name else message
        is_together = not place and error["type"] == "value_error"
        blamed = _blamed(root, node, message) if is_together else node
        return Refusal((*above, *place), blamed, False, is_together, text)
    # A header's value may be a credential, and what stands before an @ is a password.
    is_secret = place[-2:-1] == ("set",) and not is_key
    value = "[hidden]" if is_secret else _shown(error["input"])
    return Refusal((*above, *place), node, False, False, f"{name} = {value}: {message}")


def node_at(root: Node, place: Iterable[str | int]) -> Node:
    """The value at a place, or the nearest one that holds it."""
    node = root
    for part in place:
        if isinstance(part, str):
            found = node[part]
        else:
            found = node.entries[part] if part < len(node.entries) else Node(node.line)
        if not found:
            break
        node = found
    return node


def _named(root: Node, place: Place) -> Iterator[str]:
    """A place as it is written: items are counted from 1, routes go by their names."""
    for depth, part in enumerate(place):
        if isinstance(part, str):
            yield part
            continue
        called = node_at(root, place[: depth + 1])["name"].text if place[0] == "route" else ""
        yield f"'{called}'" if called else str(part + 1)


def _blamed(root: Node, table: Node, message: str) -> Node:
    """What a sentence about several settings names: a route, or the first of them."""
    if found := re.match(r"route '([^']*)'", message):
        routes = [node for node in root["route"] if node["name"].text == found[1]]
        return routes[-1] if routes else root["upstream"]
    return table[re.split(r"\W", message, maxsplit=1)[0]] or table


def _shown(value: object) -> str:
    text = repr(value)
    return "[hidden]" if "@" in text else text[:_SHOWN_MAX]
