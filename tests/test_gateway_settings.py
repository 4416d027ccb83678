"""Settings of the gateway: where they come from, which wins, and how a wrong one is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.addresses import HostPort, PublicUrl
from gateway.calls import CallLimits, Plan
from gateway.credentials import VARIABLES
from gateway.sections import AgentSettings, Inbound, TwilioSettings
from gateway.settings import GatewaySettings, SettingsError, load_settings

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _only_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an auth token as the only secret in the environment."""
    for name in os.environ:
        if name.startswith("HOPSCOPE_") or name in VARIABLES.values():
            monkeypatch.delenv(name)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("hopscope.toml").write_text(text, "utf-8")


def refusal(**flags: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(**flags)
    return str(refused.value)


def test_the_defaults_need_no_account_and_no_network() -> None:
    settings = load_settings()
    assert (settings.voice, settings.ears) == (("hibari", "espeak"), ("whisper",))
    assert settings.agent.provider == "scripted"
    assert (str(settings.listen), str(settings.metrics)) == ("127.0.0.1:8081", "127.0.0.1:9102")
    assert settings.mode == "conversation"
    assert settings.inbound == Inbound(policy="open", allow=())
    assert settings.paths.model_dump() == {
        "webhook": "/voice/webhook",
        "stream": "/voice/stream",
        "status": "/voice/status",
        "stream_status": "/voice/stream-status",
        "amd": "/voice/amd",
        "debugger": "/voice/debugger",
    }
    assert (settings.turns.silence_ms, settings.limits.start_seconds) == (500, 5)
    assert settings.limits.body_bytes == 65536
    assert settings.log_transcripts


def test_flags_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(
        '[gateway]\nlisten = "127.0.0.1:1"\nmode = "notify"\ngreeting = "file"\ndrain_seconds = 1\n'
    )
    monkeypatch.setenv("HOPSCOPE_GATEWAY_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("HOPSCOPE_GATEWAY_GREETING", "environment")
    settings = load_settings(listen="127.0.0.1:3", mode=None)
    assert settings.listen == HostPort("127.0.0.1", 3)
    assert settings.greeting == "environment"
    assert (settings.mode, settings.drain_seconds) == ("notify", 1)


def test_the_public_url_has_a_variable_of_its_own_and_the_closer_one_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write('[gateway]\npublic_url = "https://file.example.com"\n')
    assert str(load_settings().public) == "https://file.example.com"
    monkeypatch.setenv("HOPSCOPE_PUBLIC_URL", "https://shared.example.com/pre")
    assert load_settings().public == PublicUrl("https", "shared.example.com", "/pre")
    monkeypatch.setenv("HOPSCOPE_GATEWAY_PUBLIC_URL", "https://own.example.com:8443")
    assert str(load_settings().public) == "https://own.example.com:8443"
    assert str(load_settings(public_url="http://localhost:1").public) == "http://localhost:1"


def test_without_a_public_url_it_is_where_we_listen_and_that_is_told() -> None:
    settings = load_settings()
    assert str(settings.public) == "http://127.0.0.1:8081"
    assert len(settings.warnings) == 1
    assert "set HOPSCOPE_PUBLIC_URL" in settings.warnings[0]
    assert load_settings(public_url="https://voice.example.com").warnings == ()


def test_nested_settings_of_all_sources_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[gateway.limits]\ncalls = 3\npending_streams = 7\n[gateway.turns]\nsilence_ms = 700\n")
    monkeypatch.setenv("HOPSCOPE_GATEWAY_LIMITS__CALLS", "4")
    monkeypatch.setenv("HOPSCOPE_GATEWAY_VOICES__OPENAI__VOICE", "coral")
    monkeypatch.setenv("HOPSCOPE_GATEWAY_INBOUND", '{"policy": "off"}')
    settings = load_settings(limits={"call_seconds": 60})
    assert settings.limits.call_limits() == CallLimits(4, 10, 7, 60)
    assert settings.turns.silence_ms == 700
    assert settings.voices.openai.voice == "coral"
    assert settings.inbound.policy == "off"


def test_lists_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSCOPE_GATEWAY_VOICE", '["espeak", "hibari"]')
    assert load_settings().voice == ("espeak", "hibari")


def test_what_the_file_says_of_the_sidecar_is_none_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write('listen = "127.0.0.1:1"\n[limits]\nconnections = 5\n[[route]]\nname = "x"\n')
    monkeypatch.setenv("HOPSCOPE_LISTEN", "127.0.0.1:2")
    assert load_settings().listen == HostPort("127.0.0.1", 8081)


def test_a_named_file_is_read_instead_of_the_default_one(tmp_path: Path) -> None:
    write('[gateway]\nlisten = "127.0.0.1:1"\n')
    other = tmp_path / "other.toml"
    other.write_text('[gateway]\nlisten = "127.0.0.1:2"\n')
    assert load_settings(other).listen.port == 2


def test_metrics_can_be_off() -> None:
    assert load_settings(metrics="off").metrics is None


def test_an_unplanned_call_is_greeted_or_told_something() -> None:
    assert load_settings(greeting="Hi.").inbound_plan == Plan("conversation", "Hi.")
    assert load_settings(greeting="").inbound_plan == Plan("conversation", "")
    settings = load_settings(mode="notify", notify={"text": "Closed today."})
    assert settings.inbound_plan == Plan("notify", "Closed today.")


# Secrets


def test_secrets_come_from_a_file_beside_the_one_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    (tmp_path / "etc").mkdir()
    secrets = tmp_path / "etc" / "secrets.env"
    secrets.write_text("TWILIO_AUTH_TOKEN=made-up\nOPENAI_API_KEY=made-up\n")
    secrets.chmod(0o600)
    file = tmp_path / "etc" / "hopscope.toml"
    file.write_text('[gateway]\nsecrets = "secrets.env"\nvoice = ["openai", "hibari"]\n')
    settings = load_settings(file)
    assert settings.credentials.auth_token == "made-up"
    assert "made-up" not in f"{settings!r}"
    assert "made-up" not in settings.model_dump_json()


def test_a_file_of_secrets_in_a_flag_is_looked_for_where_we_are() -> None:
    assert "etc/secrets.env" in refusal(secrets=Path("etc/secrets.env"))


def test_a_secrets_file_that_all_can_read_is_told_of() -> None:
    Path("secrets.env").write_text("")
    Path("secrets.env").chmod(0o644)
    settings = load_settings(secrets=Path("secrets.env"), public_url="https://voice.example.com")
    assert "every user of this machine can read it" in settings.warnings[0]


def test_secrets_stay_when_settings_are_copied() -> None:
    """The port is known only when it is bound; then the public URL is put in."""
    settings = load_settings()
    copy = settings.model_copy(update={"public_url": PublicUrl("http", "127.0.0.1:5")})
    assert copy.credentials.auth_token == TOKEN
    assert str(copy.public) == "http://127.0.0.1:5"


def test_without_an_auth_token_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    assert refusal().startswith("TWILIO_AUTH_TOKEN: is not set")
    assert "--allow-unsigned" in refusal()
    assert load_settings(allow_unsigned=True).warnings == ()


@pytest.mark.parametrize("listen", ["0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081"])
def test_unsigned_requests_are_for_loopback_alone(listen: str) -> None:
    text = refusal(allow_unsigned=True, listen=listen, public_url="https://voice.example.com")
    assert text.startswith("gateway: allow_unsigned is for loopback alone, and listen is")


def test_unsigned_requests_behind_a_public_url_are_told_of() -> None:
    settings = load_settings(allow_unsigned=True, public_url="https://voice.example.com")
    assert "whoever finds https://voice.example.com" in settings.warnings[0]


@pytest.mark.parametrize(
    ("setting", "provider", "variable"),
    [
        ("voice", "openai", "OPENAI_API_KEY"),
        ("voice", "elevenlabs", "ELEVENLABS_API_KEY"),
        ("ears", "openai", "OPENAI_API_KEY"),
        ("ears", "deepgram", "DEEPGRAM_API_KEY"),
        ("ears", "elevenlabs", "ELEVENLABS_API_KEY"),
    ],
)
def test_a_provider_in_the_cloud_needs_its_key(
    setting: str, provider: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback = {"voice": "hibari", "ears": "whisper"}[setting]
    flags: dict[str, Any] = {setting: (fallback, provider)}
    assert refusal(**flags) == (
        f"gateway.{setting}: '{provider}' needs {variable}, which is not set"
    )
    monkeypatch.setenv(variable, "made-up")
    assert getattr(load_settings(**flags), setting) == (fallback, provider)


def test_all_missing_keys_are_named_at_once() -> None:
    text = refusal(voice=("openai",), ears=("deepgram",), agent={"provider": "realtime"})
    assert [line.partition(": ")[0] for line in text.splitlines()] == [
        "gateway.voice",
        "gateway.ears",
        "gateway.agent.provider",
    ]


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "HOPSCOPE_AGENT_API_KEY"])
def test_a_chat_agent_at_openai_needs_a_key(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = {"provider": "chat", "model": "gpt-6"}
    assert "'chat' at api.openai.com needs" in refusal(agent=chat)
    assert "without a model" in refusal(agent={"provider": "chat"})
    monkeypatch.setenv(variable, "made-up")
    assert load_settings(agent=chat).agent.chosen_model == "gpt-6"


def test_a_chat_agent_elsewhere_may_need_none() -> None:
    agent = {"provider": "chat", "base_url": "http://127.0.0.1:18789/v1/", "model": "openclaw"}
    settings = load_settings(agent=agent)
    assert settings.agent.base_url == "http://127.0.0.1:18789/v1"
    assert settings.agent.chosen_model == "openclaw"


def test_the_realtime_agent_has_a_model_of_its_own() -> None:
    assert AgentSettings(provider="realtime").chosen_model == "gpt-realtime-2.1"


# Regions


@pytest.mark.parametrize(
    ("written", "region", "edge"),
    [
        ({}, "us1", "ashburn"),
        ({"region": "au1"}, "au1", "sydney"),
        ({"region": "ie1"}, "ie1", "dublin"),
        ({"edge": "tokyo"}, "jp1", "tokyo"),
        ({"edge": "sydney"}, "au1", "sydney"),
        ({"region": "us1", "edge": "ashburn"}, "us1", "ashburn"),
        ({"region": "ie1", "edge": "dublin"}, "ie1", "dublin"),
    ],
)
def test_region_and_edge_give_each_other(written: dict[str, Any], region: str, edge: str) -> None:
    twilio = TwilioSettings(**written)
    assert (twilio.chosen_region, twilio.chosen_edge) == (region, edge)


@pytest.mark.parametrize(
    ("region", "edge"), [("au1", "dublin"), ("ie1", "ashburn"), ("us1", "sydney")]
)
def test_a_wrong_pair_is_refused(region: str, edge: str) -> None:
    assert refusal(twilio={"region": region, "edge": edge}).startswith(
        f"gateway.twilio: has region '{region}' with edge '{edge}'; {region} is reached through"
    )


# Refusals


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"listen": "8081"}, "gateway.listen = '8081': should be HOST:PORT"),
        ({"listen": "0.0.0.0:8081"}, "gateway: public_url is not set (HOPSCOPE_PUBLIC_URL)"),
        (
            {"metrics": "127.0.0.1:8081"},
            "gateway: listen and metrics are both 127.0.0.1:8081",
        ),
        (
            {"public_url": "http://voice.example.com"},
            "gateway.public_url = 'http://voice.example.com': should be https://",
        ),
        ({"public_url": "https://me:secret@a.b"}, "gateway.public_url = [hidden]: should be"),
        (
            {"mode": "notify."},
            "gateway.mode = 'notify.': Input should be 'conversation' or 'notify'",
        ),
        ({"voice": ()}, "gateway: voice is empty"),
        ({"ears": ("whisper", "whisper")}, "gateway: ears names a provider twice"),
        ({"voice": ("openal",)}, "gateway.voice.0 = 'openal': Input should be 'openai', "),
        ({"greeting": "a\x00"}, "gateway.greeting = 'a\\x00': holds control characters"),
        ({"notify": {"text": "a" * 4097}}, "gateway.notify.text = 'aaa"),
        (
            {"inbound": {"policy": "allow_list", "allow": ["+1 555"]}},
            "gateway.inbound.allow.0 = '+1 555': should be a number in E.164 form",
        ),
        (
            {"inbound": {"allow": ["+15550100001"]}},
            "gateway.inbound: has numbers in allow, but policy = 'open' asks nobody",
        ),
        ({"inbound": {"policy": "allow_list"}}, "gateway.inbound: policy = 'allow_list' with"),
        ({"turns": {"pause_ms": 501}}, "gateway.turns: has a pause_ms above silence_ms"),
        ({"limits": {"cals": 1}}, "gateway.limits.cals: there is no such setting; did you mean"),
        (
            {"voices": {"openai": {"modl": "x"}}},
            "gateway.voices.openai.modl: there is no such setting; did you mean model?",
        ),
        ({"grading": 1}, "gateway.grading: there is no such setting; did you mean greeting?"),
        ({"limits": {"calls": 0}}, "gateway.limits.calls = 0: Input should be greater than"),
        ({"limits": {"body_bytes": 2 << 20}}, "gateway.limits.body_bytes = 2097152: Input"),
        ({"twilio": {"from_number": "5550100001"}}, "gateway.twilio.from_number = '5550100001'"),
        ({"twilio": {"api_url": "ftp://a"}}, "gateway.twilio.api_url = 'ftp://a': should be a URL"),
        ({"twilio": {"api_url": "https://a:b"}}, "gateway.twilio.api_url = 'https://a:b'"),
        ({"agent": {"base_url": "https://k@a"}}, "gateway.agent.base_url = [hidden]: should"),
        ({"agent": {"base_url": "https://a?k=1"}}, "gateway.agent.base_url = 'https://a?k=1'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(flags: dict[str, Any], expected: str) -> None:
    assert refusal(**flags).startswith(expected)


@pytest.mark.parametrize(
    ("flags", "guess"),
    [
        ({"mode": "conversations"}, "conversation"),
        ({"voice": ("openal",)}, "openai"),
        ({"twilio": {"edge": "sydny"}}, "sydney"),
    ],
)
def test_a_near_miss_is_guessed(flags: dict[str, Any], guess: str) -> None:
    assert refusal(**flags).endswith(f"; did you mean {guess}?")


@pytest.mark.parametrize(
    "path", ["voice", "/", "/voice/", "/voice?x", "//voice", "/a b", "/a#b", "/ä", "/a\n"]
)
def test_a_path_that_would_not_survive_the_way_is_refused(path: str) -> None:
    assert refusal(paths={"webhook": path}).startswith("gateway.paths.webhook = ")


@pytest.mark.parametrize("path", ["/voice/stream", "/calls", "/calls/x", "/healthz"])
def test_a_path_has_one_meaning(path: str) -> None:
    assert "has two meanings" in refusal(paths={"webhook": path})


def test_all_wrong_settings_are_named_at_once() -> None:
    assert refusal(listen="1", mode="x").count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("GREETINGS", "x", "HOPSCOPE_GATEWAY_GREETINGS: there is no such setting; did you mean"),
        ("LIMTS__CALLS", "1", "HOPSCOPE_GATEWAY_LIMTS__CALLS: there is no such setting"),
        ("LIMITS__CALS", "1", "gateway.limits.cals: there is no such setting"),
        ("VOICE", "openai", "HOPSCOPE_GATEWAY_VOICE: should be JSON"),
        ("INBOUND__ALLOW", "+1555", "HOPSCOPE_GATEWAY_INBOUND__ALLOW: should be JSON"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    variable: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"HOPSCOPE_GATEWAY_{variable}", value)
    assert refusal().startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[gateway\n", "hopscope.toml: "),
        ("gateway = 5\n", "gateway = 5: should be a table"),
        ("[gateway]\nlissten = 1\n", "gateway.lissten: there is no such setting; did you mean"),
    ],
)
def test_a_wrong_file_is_refused(text: str, expected: str) -> None:
    write(text)
    assert refusal().startswith(expected)


def test_a_file_that_is_not_there_is_refused() -> None:
    assert "nowhere.toml" in refusal(file=Path("nowhere.toml"))


def test_settings_do_not_change_once_read() -> None:
    settings: GatewaySettings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.mode = "notify"
