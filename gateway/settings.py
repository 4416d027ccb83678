"""Settings of the gateway: [gateway] of hopscope.toml, then HOPSCOPE_GATEWAY_*, then flags.

A wrong setting is refused at start with its name, its value and what is allowed, and so is a
provider whose key is missing. The defaults need no account and no network. Secrets come from the
environment or from a file that `secrets` names (gateway/credentials.py), never from here.
"""

import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from gateway.addresses import HostPort, PublicUrl, is_loopback, parse_public_url
from gateway.calls import Mode, Plan
from gateway.credentials import VARIABLES, Credentials, CredentialsError, read_credentials
from gateway.sections import (
    Address,
    AddressOrOff,
    AgentSettings,
    EarsName,
    Inbound,
    Limits,
    Notify,
    Paths,
    PublicUrlText,
    Recognisers,
    Spoken,
    Turns,
    TwilioSettings,
    VoiceName,
    Voices,
)

DEFAULT_FILE = Path("hopscope.toml")
PREFIX = "HOPSCOPE_GATEWAY_"
# Of providers in the cloud, by the setting that names them.
_KEYS = {
    "voice": {"openai": "openai", "elevenlabs": "elevenlabs"},
    "ears": {"openai": "openai", "deepgram": "deepgram", "elevenlabs": "elevenlabs"},
}


class SettingsError(Exception):
    """Settings that were refused; str() is one line for each."""


class GatewaySettings(BaseSettings):
    """Everything that the table [gateway] may say."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
    )

    listen: Address = HostPort("127.0.0.1", 8081)
    # What Twilio calls; None: where we listen, which only this machine can call.
    public_url: PublicUrlText | None = None
    # A file of NAME=value lines; beside hopscope.toml if it is named there without a folder.
    secrets: Path | None = None
    # Answer requests without a signature. On loopback only.
    allow_unsigned: bool = False
    # What an inbound call is for.
    mode: Mode = "conversation"
    greeting: Spoken = "Hello, this is Hopscope. How can I help you?"
    # In order of preference: when one fails, the next takes over.
    voice: tuple[VoiceName, ...] = ("hibari", "espeak")
    ears: tuple[EarsName, ...] = ("whisper",)
    log_transcripts: bool = True
    metrics: AddressOrOff = HostPort("127.0.0.1", 9102)
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 30
    paths: Paths = Paths()
    notify: Notify = Notify()
    inbound: Inbound = Inbound()
    limits: Limits = Limits()
    turns: Turns = Turns()
    voices: Voices = Voices()
    recognisers: Recognisers = Recognisers()
    agent: AgentSettings = AgentSettings()
    twilio: TwilioSettings = TwilioSettings()

    _credentials: Credentials = PrivateAttr(default_factory=Credentials)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for name in ("voice", "ears"):
            chosen = getattr(self, name)
            if not chosen:
                raise ValueError(f"{name} is empty; it should name a provider")
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"{name} names a provider twice: {', '.join(chosen)}")
        if self.listen.port and self.listen == self.metrics:
            raise ValueError(f"listen and metrics are both {self.listen}; each needs its own port")
        if self.allow_unsigned and not self.listen.is_loopback:
            raise ValueError(
                f"allow_unsigned is for loopback alone, and listen is {self.listen}: anybody could "
                "place and answer calls"
            )
        if self.public_url is None and not self.listen.is_loopback:
            raise ValueError(
                "public_url is not set (HOPSCOPE_PUBLIC_URL): it is what Twilio calls, and what "
                "its signatures are made over; for example https://voice.example.com"
            )
        return self

    @property
    def public(self) -> PublicUrl:
        return self.public_url or PublicUrl("http", str(self.listen))

    @property
    def credentials(self) -> Credentials:
        return self._credentials

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed, and should be known when the gateway starts."""
        return self._warnings

    @property
    def inbound_plan(self) -> Plan:
        """What a call is for that nobody planned."""
        return Plan(self.mode, self.greeting if self.mode == "conversation" else self.notify.text)


def load_settings(file: Path | None = None, **flags: Any) -> GatewaySettings:
    """Read the settings. `file` None: ./hopscope.toml if there is one. Raises SettingsError."""
    settings, secrets = _read(file, flags)
    try:
        settings._credentials, warnings = read_credentials(secrets, os.environ)
    except CredentialsError as error:
        raise SettingsError(str(error)) from None
    refusals = _missing_secrets(settings)
    if refusals:
        raise SettingsError("\n".join(refusals))
    settings._warnings = (*warnings, *_doubts(settings))
    return settings


def read_settings(file: Path | None = None, **flags: Any) -> GatewaySettings:
    """The same without secrets, for whoever wants its addresses and paths. Raises SettingsError."""
    return _read(file, flags)[0]


def read_account(file: Path | None = None) -> GatewaySettings:
    """The same with whatever secrets there are, for who asks Twilio alone. Raises SettingsError."""
    settings, secrets = _read(file, {})
    try:
        settings._credentials, _ = read_credentials(secrets, os.environ)
    except CredentialsError as error:
        raise SettingsError(str(error)) from None
    return settings


def _read(file: Path | None, flags: dict[str, Any]) -> tuple[GatewaySettings, Path | None]:
    """The settings, and where their file of secrets is."""
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    written = _read_table(chosen) if chosen else {}
    public_url = os.environ.get("HOPSCOPE_PUBLIC_URL")
    shared = {"public_url": public_url} if public_url else {}

    class Sourced(GatewaySettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, shared),
                InitSettingsSource(settings_cls, written),
            )

    _refuse_unknown_variables()
    try:
        settings = Sourced(**{name: value for name, value in flags.items() if value is not None})
    except SourceError as error:
        raise SettingsError(_explain_environment(error)) from None
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None
    secrets = settings.secrets
    if secrets and chosen and written.get("secrets") == str(secrets):
        secrets = chosen.parent / secrets
    return settings, secrets


def offline_settings(public_url: str, auth_token: str, **values: Any) -> GatewaySettings:
    """The embedded defaults on a free port of loopback, whatever files and environment say."""

    class Given(GatewaySettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings,)

    settings = Given(
        listen=HostPort("127.0.0.1", 0), public_url=parse_public_url(public_url), **values
    )
    settings._credentials = Credentials(auth_token=auth_token)
    return settings


def _read_table(file: Path) -> dict[str, Any]:
    """[gateway] of a file; the rest of it is the sidecar's."""
    try:
        table = tomllib.loads(file.read_text("utf-8")).get("gateway", {})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: is not TOML: {error}") from None
    except FileNotFoundError:
        raise SettingsError(f"{file}: there is no such file; is the path right?") from None
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: is not UTF-8 text") from None
    if not isinstance(table, dict):
        raise SettingsError(f"gateway = {table!r}: should be a table, [gateway]")
    return table


def _missing_secrets(settings: GatewaySettings) -> list[str]:
    """What the settings ask for and the secrets do not hold."""
    credentials = settings.credentials
    refusals = []
    if not credentials.auth_token and not settings.allow_unsigned:
        refusals.append(
            "TWILIO_AUTH_TOKEN: is not set, and every request is checked with it; for a trial on "
            "this machine alone there is --allow-unsigned (gateway.allow_unsigned = true)"
        )
    for setting, keys in _KEYS.items():
        for provider in getattr(settings, setting):
            key = keys.get(provider)
            if key and not getattr(credentials, key):
                refusals.append(
                    f"gateway.{setting}: {provider!r} needs {VARIABLES[key]}, which is not set"
                )
    agent = settings.agent
    if agent.provider == "realtime" and not credentials.openai:
        refusals.append("gateway.agent.provider: 'realtime' needs OPENAI_API_KEY, which is not set")
    # Other endpoints, one on this machine say, may want no key.
    is_openai = agent.base_url.startswith("https://api.openai.com/")
    if agent.provider == "chat" and is_openai and not (credentials.agent or credentials.openai):
        refusals.append(
            "gateway.agent.provider: 'chat' at api.openai.com needs HOPSCOPE_AGENT_API_KEY or "
            "OPENAI_API_KEY, and neither is set; gateway.agent.base_url chooses another endpoint"
        )
    return refusals


def _doubts(settings: GatewaySettings) -> list[str]:
    public = settings.public
    doubts = []
    if settings.public_url is None and settings.credentials.auth_token:
        doubts.append(
            f"public_url is not set: signatures are checked over {public}, which Twilio cannot "
            "call; set HOPSCOPE_PUBLIC_URL to what it does call"
        )
    if settings.allow_unsigned and not is_loopback(public.host):
        doubts.append(
            f"allow_unsigned: whoever finds {public} can use this gateway as if they were Twilio"
        )
    return doubts


def _refuse_unknown_variables() -> None:
    """The environment is full of what is not ours; what starts with HOPSCOPE_GATEWAY_ is."""
    known = {PREFIX + name.upper() for name in GatewaySettings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable.partition("__")[0] not in known:
            near = get_close_matches(variable, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{variable}: there is no such setting{hint}")


def _explain(error: Any) -> str:
    """One refused setting as: name = value: what is allowed."""
    path = [str(part) for part in error["loc"]]
    name = ".".join(["gateway", *path])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such setting{_hint(path[-1], _names(path[:-1]))}"
    if error["type"] == "value_error" and isinstance(error["input"], dict | BaseModel):
        return f"{name}: {message}"
    if error["type"] == "literal_error":
        message += _hint(str(error["input"]), re.findall("'([^']+)'", message))
    # A URL with @ in it holds a password.
    value = "[hidden]" if "@" in str(error["input"]) else repr(error["input"])
    return f"{name} = {value}: {message}"


def _explain_environment(error: SourceError) -> str:
    """The source says which field it could not read; lists and tables are JSON there."""
    found = re.search('field "([a-z_]+)"', str(error))
    if found is None:
        return f"environment: {error}"
    name = PREFIX + found[1].upper()
    named = sorted(variable for variable in os.environ if variable.partition("__")[0] == name)
    return f"{' or '.join(named)}: should be JSON, as all lists and tables of the environment"


def _hint(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _names(path: list[str]) -> list[str]:
    """The settings of the table at `path`."""
    model: Any = GatewaySettings
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
