"""The recogniser of last resort, in its own process. It is optional even in CI."""

import asyncio

import pytest

from doctor.caller.speech import sentence
from gateway.providers.pocketsphinx import PocketSphinx
from gateway.speech import ProviderError
from spoken import words


def test_it_understands_a_plain_sentence() -> None:
    pytest.importorskip("pocketsphinx", reason="pip install pocketsphinx")

    async def test() -> None:
        ears = PocketSphinx()
        try:
            await ears.warm()
            listener = await ears.listen()
            listener.begin()
            listener.hear(sentence("cancel").audio)
            assert "my appointment on monday" in words(await listener.transcribe())
        finally:
            await ears.close()

    asyncio.run(test())


def test_where_it_is_not_installed_it_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setattr("gateway.providers.pocketsphinx._transcribe", _fail)

    async def test() -> None:
        ears = PocketSphinx()
        try:
            with pytest.raises(ProviderError, match=r"not_installed .*pip install pocketsphinx"):
                await ears.warm()
        finally:
            await ears.close()

    asyncio.run(test())


def _fail(_: bytes) -> str:
    raise ImportError("No module named 'pocketsphinx'")
