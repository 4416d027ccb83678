"""Settings of the sidecar: hopscope.toml, then the environment HOPSCOPE_*, then flags.

A wrong setting is refused at start, and at a reload, with its name, its value and what is
allowed. Nothing is corrected silently. Every limit says what it protects.
"""

import ipaddress
import json
import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from proxy.capture import Captures
from proxy.http1 import TOKEN
from proxy.media import Read, Sampling
from proxy.refusals import Refusals, nearest, unreadable
from proxy.routes import HeaderEdits, Route, Upstream

DEFAULT_FILE = Path("hopscope.toml")
# Read from the environment alone: secrets, and the gateway's address.
_OTHER_VARIABLES = {
    "HOPSCOPE_ADMIN_TOKEN",
    "HOPSCOPE_AGENT_API_KEY",
    "HOPSCOPE_CALLS_TOKEN",
    "HOPSCOPE_PUBLIC_URL",
}
# The table of the voice gateway, which reads and judges it itself.
_GATEWAY = "gateway"
# What frames a message is not a route's to change.
_FRAMING = {"content-length", "transfer-encoding", "trailer"}


class HostPort(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_host_port(text: object) -> HostPort:
    """HOST:PORT, with an IPv6 address in brackets."""
    if isinstance(text, HostPort):
        return text
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", str(text))
    if found is None or int(found[3]) > 65535:
        raise ValueError("should be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    return HostPort(found[1] or found[2], int(found[3]))


def parse_upstream(text: object) -> Upstream:
    """http://HOST:PORT or unix:/path/to.sock."""
    if isinstance(text, Upstream):
        return text
    url = text if isinstance(text, str) else ""
    if url.startswith("unix:/"):
        return Upstream(unix_path=url.removeprefix("unix:"))
    if url.startswith(("https://", "wss://")):
        raise ValueError("should be http://: the sidecar stands beside its gateway, without TLS")
    host_port = re.sub(r"^(?:http|ws)://", "", url).removesuffix("/")
    if "://" not in host_port and ("/" in host_port or "?" in host_port):
        raise ValueError("should have no path; a route's add_prefix or rewrite changes paths")
    if re.search(r":[0-9]+$", host_port) is None:
        if "://" not in url:
            guess = f"; did you mean http://127.0.0.1:{url}?" if url.isdigit() else ""
            raise ValueError(f"should be http://HOST:PORT or unix:/path/to.sock{guess}")
        host_port += ":80"
    try:
        return Upstream(*parse_host_port(host_port))
    except ValueError:
        raise ValueError("should be http://HOST:PORT or unix:/path/to.sock") from None


def parse_network(text: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address block, for example 10.0.0.0/8; an address alone is a block of one."""
    if isinstance(text, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return text
    try:
        return ipaddress.ip_network(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError(
            "should be a network such as 10.0.0.0/8 or fd00::/8, with no bits behind its prefix"
        ) from None


def _is_same(upstream: Upstream, listen: HostPort) -> bool:
    """Whether an upstream is where the sidecar itself listens."""
    if upstream.port != listen.port:
        return False
    is_any = listen.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    theirs = HostPort(upstream.host, upstream.port)
    return theirs == listen or (theirs.is_loopback and (is_any or listen.is_loopback))


def _check_path(text: str) -> str:
    if not text.startswith("/") or re.search(r"[^!-~]|[?#]", text):
        raise ValueError("should start with / and hold neither spaces nor ? nor #")
    return text


def _check_host(text: str) -> str:
    if re.fullmatch(r"(?:\*\.)?[A-Za-z0-9_.-]*[A-Za-z0-9_-]|\[[0-9A-Fa-f:.]+\]", text) is None:
        raise ValueError("should be a name such as voice.example.com or *.example.com, no port")
    return text


def _check_field_name(text: str) -> str:
    if TOKEN.fullmatch(text) is None:
        raise ValueError("should be a header name")
    if text.lower() in _FRAMING:
        raise ValueError("frames the message and is not a route's to change")
    return text


def _check_field_value(text: str) -> str:
    if re.search(r"[^\t -~\x80-\xff]", text):
        raise ValueError("should hold neither control characters nor characters beyond latin-1")
    return text


# NoDecode: a tuple of the environment would be read as JSON.
Address = Annotated[HostPort, NoDecode, BeforeValidator(parse_host_port)]
UpstreamUrl = Annotated[Upstream, BeforeValidator(parse_upstream)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, PlainValidator(parse_network)]
PathText = Annotated[str, AfterValidator(_check_path)]
FieldName = Annotated[str, AfterValidator(_check_field_name)]
FieldValue = Annotated[str, AfterValidator(_check_field_value)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
SecondsOrOff = Annotated[float, Field(ge=0, le=30 * 86400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class HeaderSettings(_Strict):
    """Fields to set (in place of what came, or added) and to remove."""

    set: dict[FieldName, FieldValue] = {}
    remove: list[FieldName] = []

    def edits(self) -> HeaderEdits:
        return HeaderEdits(tuple(self.set.items()), tuple(self.remove))


class RouteSettings(_Strict):
    """One [[route]]. Without path, prefix and host it takes every request."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
    upstream: UpstreamUrl
    path: PathText | None = None
    prefix: PathText | None = None
    host: Annotated[str, AfterValidator(_check_host)] | None = None
    strip_prefix: PathText | None = None
    add_prefix: PathText | None = None
    rewrite: PathText | None = None
    request_headers: HeaderSettings = HeaderSettings()
    response_headers: HeaderSettings = HeaderSettings()
    connect_seconds: Seconds = 5
    handshake_seconds: Seconds = 15
    response_seconds: Seconds = 60
    # Whether what passes over its streams is kept; see [capture].
    capture: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.path is not None and self.prefix is not None:
            raise ValueError("has both path and prefix; a request can match only one of them")
        if self.rewrite is not None and (self.strip_prefix or self.add_prefix):
            raise ValueError("has rewrite beside strip_prefix or add_prefix; rewrite replaces all")
        return self

    def route(self) -> Route:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values["request_headers"] = self.request_headers.edits()
        values["response_headers"] = self.response_headers.edits()
        return Route(**values)


class Limits(_Strict):
    """Bounds on what one peer may cost. Times are seconds; 0 turns off those that say so."""

    # A head is held in memory until its end: 32 KiB is nginx's sum (4 buffers of 8 KiB).
    head_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 32768
    # A client that sends its head a byte at a time holds a connection for free (slowloris).
    head_seconds: Seconds = 10
    # Between requests an idle connection serves nobody; 75 s is what nginx allows its clients.
    keep_alive_seconds: Seconds = 75
    # A body that stops half-way pins two connections.
    body_idle_seconds: Seconds = 30
    # Every connection costs two descriptors and its session up to 40 kB.
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    # One address must not take all places; Twilio spreads its calls over many.
    connections_per_client: Annotated[int, Field(ge=1, le=1_000_000)] = 250
    # Off: silence is normal in a call on hold, and cutting it is what we accuse others of.
    session_idle_seconds: SecondsOrOff = 0
    # Off: a call may last for hours.
    session_seconds: SecondsOrOff = 0
    # What one side has sent and the other does not take yet; above it, reading stops.
    write_buffer_bytes: Annotated[int, Field(ge=4096, le=1 << 24)] = 65536
    # After one sender's EOF the other may finish its sentence, but not hold the pair in silence.
    half_close_seconds: Seconds = 30
    # A peer that takes no byte for so long is dead, whatever its TCP says.
    stall_seconds: Seconds = 60


class MediaSettings(_Strict):
    """Which Twilio streams have their messages read; see proxy/media.py."""

    read: Read = "every"
    # Of "sampled": one stream of so many is read, whole.
    sample_every: Annotated[int, Field(ge=1, le=1_000_000)] = 10

    def sampling(self) -> Sampling:
        return Sampling(self.read, self.sample_every)


class CaptureSettings(_Strict):
    """Bounds on what is kept in memory of captured streams; see proxy/capture.py."""

    # A call of ten minutes: 60,000 messages of 20 ms both ways, 470 bytes each as they are kept.
    session_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 30)] = 32 << 20
    total_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 34)] = 128 << 20
    # Of an ended stream.
    seconds: Annotated[float, Field(gt=0, le=7 * 86400)] = 3600

    def captures(self) -> Captures:
        return Captures(self.session_bytes, self.total_bytes, self.seconds)


class HistorySettings(_Strict):
    enabled: bool = True
    # None: history.sqlite3 in the user's state directory.
    file: Path | None = None
    days: Annotated[float, Field(gt=0, le=3650)] = 14
    rows: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000


class Settings(BaseSettings):
    """Everything that hopscope.toml may say about the sidecar."""

    model_config = SettingsConfigDict(
        env_prefix="HOPSCOPE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
    )

    listen: Address = HostPort("127.0.0.1", 8080)
    admin: Address = HostPort("127.0.0.1", 9101)
    upstream: UpstreamUrl | None = None
    route: list[RouteSettings] = []
    proxy_protocol: bool = False
    # Whose X-Forwarded-For is believed: tunnels and proxies on the same machine.
    trusted_proxies: list[Network] = [
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    ]
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 30
    limits: Limits = Limits()
    media: MediaSettings = MediaSettings()
    capture: CaptureSettings = CaptureSettings()
    history: HistorySettings = HistorySettings()

    @model_validator(mode="after")
    def _check_routes(self) -> Self:
        routes = self.routes()
        names = [route.name for route in routes]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"route {name!r} is there twice; a default upstream is 'default'")
        for index, later in enumerate(routes):
            for earlier in routes[:index]:
                if earlier.takes_all_of(later):
                    raise ValueError(
                        f"route {later.name!r} can never match: {earlier.name!r} stands before it "
                        "and takes everything it would; move it up"
                    )
        if self.listen.port and self.listen == self.admin:
            raise ValueError(f"listen and admin are both {self.listen}; each needs its own port")
        for route in routes:
            if self.listen.port and _is_same(route.upstream, self.listen):
                raise ValueError(f"route {route.name!r} leads back to this sidecar ({self.listen})")
        return self

    def routes(self) -> tuple[Route, ...]:
        """The routing table in order; `upstream` is the route 'default' at its end."""
        routes = [settings.route() for settings in self.route]
        if self.upstream is not None:
            routes.append(Route("default", self.upstream))
        return tuple(routes)


class SettingsError(Exception):
    """Settings that were refused; str() is one line for each."""


def load_settings(file: Path | None = None, **flags: Any) -> Settings:
    """Read the settings. `file` None: ./hopscope.toml if there is one. Raises SettingsError."""
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    try:
        written = tomllib.loads(chosen.read_text("utf-8")) if chosen else {}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{chosen}: is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{chosen}: {unreadable(error)}") from None
    written.pop(_GATEWAY, None)
    given = {name: value for name, value in flags.items() if value is not None}

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, written)

    _refuse_unknown_variables()
    try:
        settings = Sourced(**given)
    except (ValidationError, SourceError) as error:
        refusals = Refusals(Settings, others=(_GATEWAY,), routes=_route_names(given, written))
        raise SettingsError(refusals.explain(error)) from None
    if not settings.admin.is_loopback and admin_token() is None:
        raise SettingsError(
            f"admin = {str(settings.admin)!r}: set HOPSCOPE_ADMIN_TOKEN to listen beyond loopback"
        )
    return settings


def admin_token() -> str | None:
    """The bearer token of the admin address, from the environment alone."""
    return os.environ.get("HOPSCOPE_ADMIN_TOKEN") or None


def _refuse_unknown_variables() -> None:
    """The environment is full of what is not ours; what starts with HOPSCOPE_ is."""
    known = {f"HOPSCOPE_{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    for variable in sorted(os.environ):
        if not variable.startswith("HOPSCOPE_") or variable.startswith("HOPSCOPE_GATEWAY_"):
            continue
        if variable.partition("__")[0] not in known:
            raise SettingsError(f"{variable}: there is no such setting{nearest(variable, known)}")


def _route_names(flags: dict[str, Any], written: dict[str, Any]) -> list[str | None]:
    """What the routes that were refused are called, where they have a name at all."""
    routes: Any = written.get("route")
    if (variable := os.environ.get("HOPSCOPE_ROUTE")) is not None:
        with suppress(ValueError):
            routes = json.loads(variable)
    routes = flags.get("route", routes)
    if not isinstance(routes, list):
        return []
    names = [route.get("name") if isinstance(route, dict) else None for route in routes]
    return [name if isinstance(name, str) else None for name in names]
