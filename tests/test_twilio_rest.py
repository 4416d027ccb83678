"""The library's HTTP client as we use it: where it goes, what it says to the log."""

import logging
from typing import Any

import pytest
import requests

from gateway.twilio_rest import RestHttp


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """What would have gone out; every request is answered with 200 {}."""
    requests_sent = []

    def send(_self: Any, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        requests_sent.append(request)
        response = requests.Response()
        response.status_code, response._content, response.encoding = 200, b"{}", "utf-8"
        return response

    monkeypatch.setattr(requests.Session, "send", send)
    return requests_sent


def get(http: RestHttp, url: str, **more: Any) -> None:
    http.request("GET", url, **more)


@pytest.mark.parametrize(
    ("api_url", "went_to"),
    [
        (None, "https://monitor.twilio.com/v1/Alerts?Page=1"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/v1/Alerts?Page=1"),
        ("https://stand.in/twilio/", "https://stand.in/twilio/v1/Alerts?Page=1"),
    ],
)
def test_another_host_takes_the_place_of_every_host_of_twilios(
    api_url: str | None, went_to: str, sent: list[requests.PreparedRequest]
) -> None:
    get(RestHttp(5.0, api_url), "https://monitor.twilio.com/v1/Alerts?Page=1")
    assert [request.url for request in sent] == [went_to]


def test_each_request_closes_its_connection(sent: list[requests.PreparedRequest]) -> None:
    get(RestHttp(), "https://api.twilio.com/", headers={"Accept": "application/json"})
    assert sent[0].headers["Connection"] == "close"
    assert sent[0].headers["Accept"] == "application/json"


@pytest.mark.usefixtures("sent")
def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    get(RestHttp(), "https://api.twilio.com/", params={"To": "+14155550100"})
    assert caplog.records == []
