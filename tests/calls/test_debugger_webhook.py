"""The webhook of Twilio's debugger: signed as the others are, and told on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.rest_api.alerts import Alert, Sent
from gateway.journal import Journal
from hopscope import _keeper, main
from proxy.history import TWILIO_ERROR, Book, History
from webhook_gateway import PUBLIC, SID, WEBHOOK, Gateway, running


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running() as gateway:
        yield gateway


def debugger_form(text: str = "") -> dict[str, str]:
    sent = Sent(url=f"{PUBLIC}{WEBHOOK}", response_status=404, response_headers="Server=nginx")
    alert = Alert("AC" + "1" * 32, 11200, "error", text, SID, 1000.0, "NO" + "4" * 32, sent)
    return alert.debugger_form()


def test_what_the_debugger_tells_is_told_on(gateway: Gateway) -> None:
    body, headers = gateway.signed("/voice/debugger", debugger_form())
    assert gateway.ask("POST", "/voice/debugger", headers, body).status == 204
    [told] = gateway.of("twilio_error")
    assert (told["code"], told["call_sid"], told["hop"]) == (11200, SID, "in_front")
    assert gateway.value("hopscope_twilio_errors_total", code="11200") == 1


def test_an_event_of_the_debugger_may_be_larger_than_a_webhooks_form(gateway: Gateway) -> None:
    body, headers = gateway.signed("/voice/debugger", debugger_form("x" * 100_000))
    assert gateway.ask("POST", "/voice/debugger", headers, body).status == 204


def test_the_debugger_signs_and_posts_events(gateway: Gateway) -> None:
    body, headers = gateway.signed("/voice/debugger", debugger_form(), by="someone else's")
    assert gateway.ask("POST", "/voice/debugger", headers, body).status == 403
    body, headers = gateway.signed("/voice/debugger", {"Payload": "{}"})
    assert gateway.ask("POST", "/voice/debugger", headers, body).status == 400
    assert gateway.ask("GET", "/voice/debugger").status == 405
    assert gateway.of("twilio_error") == []


def test_without_twilios_api_the_time_line_has_what_the_debugger_told(
    gateway: Gateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "history.sqlite3"
    history = History(Book(file, rows=100, days=1))
    gateway.events.listen(Journal(_keeper(history), _keeper(history, TWILIO_ERROR)))
    body, headers = gateway.signed("/voice/debugger", debugger_form())
    assert gateway.ask("POST", "/voice/debugger", headers, body).status == 204
    history.close()
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hopscope", "twilio", SID, "--file", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    told = (
        "11200 HTTP retrieval failure: POST https://voice.example.com/voice/webhook answered 404; "
        "no request came to the sidecar; hop: a hop in front of the sidecar "
    )
    assert told in capsys.readouterr().out
