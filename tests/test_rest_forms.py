"""Forms that Twilio refuses, with its codes, and what it understands of the others."""

import pytest

from doctor.rest_api.forms import (
    CREATE_FIELDS,
    UPDATE_FIELDS,
    Account,
    Callback,
    Instructions,
    UpdateCall,
    parse_create,
    parse_update,
)
from doctor.rest_api.shapes import RestError
from openapi_shapes import read_facts

FORM = {"To": "+14155550100", "From": "+15005550006", "Url": "https://voice.example.com/w"}
ACCOUNT = Account("AC" + "1" * 32, "token")


def fields(**changed: str | list[str]) -> dict[str, list[str]]:
    """A form that is accepted, with these fields changed; "" takes one away."""
    merged: dict[str, str | list[str]] = {**FORM, **changed}
    return {
        name: value if isinstance(value, list) else [value]
        for name, value in merged.items()
        if value
    }


def refusal(**changed: str | list[str]) -> int:
    with pytest.raises(RestError) as refused:
        parse_create(fields(**changed))
    return refused.value.code


def test_the_fields_are_those_that_twilio_publishes() -> None:
    facts = read_facts("calls")
    assert facts["create"]["form"]["properties"].keys() == CREATE_FIELDS
    assert facts["update"]["form"]["properties"].keys() == UPDATE_FIELDS


def test_what_twilio_requires_is_required() -> None:
    for name in read_facts("calls")["create"]["form"]["required"]:
        assert refusal(**{name: ""})


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"To": ""}, 21201),
        ({"To": "call me"}, 21211),
        ({"To": "+0155550100"}, 21211),
        ({"To": "+1415555010012345"}, 21211),
        ({"From": ""}, 21213),
        ({"From": "0049301234"}, 21212),
        ({"Url": ""}, 21205),
        ({"Url": "voice.example.com/w"}, 21205),
        ({"Url": "ftp://voice.example.com/w"}, 21205),
        ({"Url": "https://voice_1.example.com/w"}, 21205),
        ({"Url": "https://voice.example.com/a b"}, 21205),
        ({"Url": "https://[::1/w"}, 21205),
        ({"Method": "PUT"}, 21209),
        ({"Url": "", "Twiml": "x" * 4001}, 32018),
        ({"ApplicationSid": "AP" + "1" * 32}, 21218),
        ({"StatusCallback": "/voice/status"}, 21609),
        ({"StatusCallback": "https://a.example.com/s", "StatusCallbackMethod": "PUT"}, 21209),
        ({"Timeout": "0"}, 21208),
        ({"Timeout": "601"}, 21208),
        ({"Timeout": "1.5"}, 21208),
        ({"TimeLimit": "-1"}, 20001),
        ({"MachineDetection": "true"}, 20001),
        ({"AsyncAmd": "yes"}, 20001),
    ],
)
def test_a_wrong_field_is_refused_with_its_code(changed: dict[str, str], code: int) -> None:
    assert refusal(**changed) == code


@pytest.mark.parametrize(
    "to", ["+14155550100", "+4930901820", "client:ann", "sip:ann@example.com", "+155501234567890"]
)
def test_numbers_clients_and_sip_addresses_can_be_called(to: str) -> None:
    assert parse_create(fields(To=to)).to == to


def test_the_defaults_are_twilios() -> None:
    wanted = parse_create(fields(StatusCallback="https://voice.example.com/s"))
    assert wanted.instructions == Instructions(Callback("https://voice.example.com/w", "POST"))
    assert wanted.status_callback == Callback("https://voice.example.com/s", "POST")
    assert wanted.events == {"completed"}
    assert (wanted.ring_limit_s, wanted.call_limit_s) == (60, 14400)
    assert wanted.machine_detection is None
    assert wanted.warnings == ()


def test_twiml_stands_alone_and_is_ignored_beside_a_url() -> None:
    assert parse_create(fields(Url="", Twiml="<Response/>")).instructions.twiml == "<Response/>"
    both = parse_create(fields(Twiml="x" * 5000)).instructions
    assert both == Instructions(Callback("https://voice.example.com/w", "POST"))


def test_twiml_of_just_4000_characters_is_taken() -> None:
    assert parse_create(fields(Url="", Twiml="x" * 4000)).instructions.twiml == "x" * 4000


def test_events_are_given_one_a_field() -> None:
    wanted = parse_create(fields(StatusCallbackEvent=["ringing", "completed"]))
    assert wanted.events == {"ringing", "completed"}


@pytest.mark.parametrize("events", [["initiated ringing"], ["ringing", "completed, answered"]])
def test_events_in_one_field_place_the_call_and_silence_every_callback(events: list[str]) -> None:
    wanted = parse_create(fields(StatusCallbackEvent=events))
    assert wanted.events == frozenset()
    assert wanted.warnings == (21626,)


def test_asynchronous_detection_without_a_callback_is_a_warning() -> None:
    wanted = parse_create(fields(MachineDetection="Enable", AsyncAmd="true"))
    assert wanted.warnings == (21262,)


def test_detection_is_synchronous_unless_asked_otherwise() -> None:
    url = "https://voice.example.com/amd"
    asked = fields(MachineDetection="DetectMessageEnd", AsyncAmdStatusCallback=url)
    assert parse_create(asked).machine_callback is None
    wanted = parse_create(asked | {"AsyncAmd": ["true"]})
    assert wanted.machine_detection == "DetectMessageEnd"
    assert wanted.machine_callback == Callback(url, "POST")
    assert wanted.warnings == ()


def test_a_field_that_twilio_does_not_know_is_a_warning() -> None:
    assert parse_create(fields(Colour="red")).warnings == (20001,)


def test_a_call_is_ended_canceled_or_redirected() -> None:
    assert parse_update({"Status": ["completed"]}) == UpdateCall("completed", None)
    assert parse_update({"Status": ["canceled"]}) == UpdateCall("canceled", None)
    url = Callback("https://voice.example.com/next", "GET")
    assert parse_update({"Url": [url.url], "Method": ["GET"]}).instructions == Instructions(url)
    assert parse_update({"Twiml": ["<Response/>"]}).instructions == Instructions(
        None, "<Response/>"
    )
    with pytest.raises(RestError, match="20001"):
        parse_update({"Status": ["ringing"]})


@pytest.mark.parametrize(
    ("to", "from_", "code"),
    [
        ("+15005550001", "+15005550006", 21217),
        ("+15005550002", "+15005550006", 21214),
        ("+15005550003", "+15005550006", 21215),
        ("+15005550004", "+15005550006", 21216),
        ("+14155550100", "+15005550001", 21212),
        ("+14155550100", "+14155550199", 21210),
    ],
)
def test_the_magic_numbers_of_test_credentials_have_their_fates(
    to: str, from_: str, code: int
) -> None:
    with pytest.raises(RestError) as refused:
        ACCOUNT.check(to, from_)
    assert refused.value.code == code


def test_a_trial_calls_verified_numbers_only() -> None:
    trial = Account("AC", "token", verified=frozenset(("+14155550100",)))
    trial.check("+14155550100", "+15005550006")
    with pytest.raises(RestError, match="21219"):
        trial.check("+14155550101", "+15005550006")
