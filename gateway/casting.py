"""Who speaks, hears and answers: the providers that the settings choose.

A module is imported when its provider is chosen: what is not installed is missed only then.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from gateway.credentials import Credentials
from gateway.settings import GatewaySettings
from gateway.speech import Agent, SpeechToText, TextToSpeech


def voices(settings: GatewaySettings) -> list[TextToSpeech]:
    """In order of preference."""
    keys, tables = settings.credentials, settings.voices
    makers: dict[str, Callable[[], TextToSpeech]] = {
        "openai": lambda: _class(*_openai_voice(tables.openai.model))(
            **_cloud(tables.openai, keys.openai, "voice", "model")
        ),
        "elevenlabs": lambda: _class("elevenlabs", "Voice")(
            **_cloud(tables.elevenlabs, keys.elevenlabs, "voice", "model")
        ),
        "hibari": lambda: _class("hibari", "Hibari")(seed=tables.hibari.seed),
        "espeak": lambda: _class("espeak", "Espeak")(
            voice=tables.espeak.voice, words_per_minute=tables.espeak.words_per_minute
        ),
    }
    return [makers[name]() for name in settings.voice]


def ears(settings: GatewaySettings) -> list[SpeechToText]:
    """In order of preference."""
    keys, tables = settings.credentials, settings.recognisers
    makers: dict[str, Callable[[], SpeechToText]] = {
        "openai": lambda: _class("openai", "Ears")(
            **_cloud(tables.openai, keys.openai, "model", "language")
        ),
        "deepgram": lambda: _class("deepgram", "Ears")(
            **_cloud(tables.deepgram, keys.deepgram, "model", "language")
        ),
        "elevenlabs": lambda: _class("elevenlabs", "Ears")(
            **_cloud(tables.elevenlabs, keys.elevenlabs, "model", "language")
        ),
        "whisper": lambda: _class("whisper", "Whisper")(threads=tables.whisper.threads),
        "pocketsphinx": lambda: _class("pocketsphinx", "PocketSphinx")(),
    }
    return [makers[name]() for name in settings.ears]


def agent(settings: GatewaySettings) -> Agent:
    """Who answers what the ears heard; not for `realtime`, which hears by itself."""
    chosen, keys = settings.agent, settings.credentials
    if chosen.provider == "scripted":
        scripted: Agent = _class("scripted", "Scripted")()
        return scripted
    chat: Agent = _class("chat", "Chat")(
        base_url=chosen.base_url,
        api_key=_agent_key(settings, keys),
        model=chosen.chosen_model,
        system=chosen.prompt,
        characters_limit=chosen.max_reply_chars,
    )
    return chat


def realtime(settings: GatewaySettings) -> Any:
    """The provider that hears, answers and speaks in one (gateway/providers/realtime.py)."""
    chosen = settings.agent
    return _class("realtime", "Realtime")(
        api_key=settings.credentials.openai,
        model=chosen.chosen_model,
        voice=chosen.voice,
        instructions=chosen.prompt,
        silence_ms=settings.turns.silence_ms,
        base_url=chosen.base_url.removesuffix("/v1"),
    )


def _openai_voice(model: str) -> tuple[str, str]:
    return ("reading", "Reader") if model.startswith("gpt-realtime") else ("openai", "Voice")


def _agent_key(settings: GatewaySettings, keys: Credentials) -> str:
    """OpenAI's key goes to OpenAI alone, unless it was given as the agent's."""
    is_openai = settings.agent.base_url.startswith("https://api.openai.com/")
    return keys.agent or (keys.openai if is_openai else "")


def _cloud(table: Any, key: str, *names: str) -> dict[str, Any]:
    chosen = {name: getattr(table, name) for name in names}
    # Written either way; the modules' paths begin with /v1.
    return chosen | {"api_key": key, "base_url": table.base_url.removesuffix("/v1")}


def _class(module: str, name: str) -> Any:
    return getattr(import_module(f"gateway.providers.{module}"), name)
