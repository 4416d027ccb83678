"""The documents: that they parse, that they say what they should, and what is never written."""

from xml.etree import ElementTree

import pytest

from gateway.twiml import (
    APOLOGY,
    INLINE_LIMIT,
    SAY_LIMIT,
    after_stream,
    apology,
    check_inline,
    check_text,
    hangup,
    refusal,
    say,
    stream,
)

STREAM = "wss://voice.example.com/voice/stream"
STATUS = "https://voice.example.com/voice/stream-status"
AFTER = "https://voice.example.com/voice/webhook?plan=a&after=stream"


def outline(document: str) -> list[tuple[str, dict[str, str], str]]:
    """Every element below <Response>, in order, as (path, attributes, text)."""
    root = ElementTree.fromstring(document)  # noqa: S314 - our own
    assert root.tag == "Response"
    found = []

    def walk(parent: ElementTree.Element, path: str) -> None:
        for element in parent:
            found.append((path + element.tag, dict(element.attrib), element.text or ""))
            walk(element, f"{path}{element.tag}/")

    walk(root, "")
    return found


def test_a_stream_has_its_token_in_a_parameter_and_is_followed_by_a_question() -> None:
    assert outline(stream(STREAM, STATUS, AFTER, "made-up")) == [
        ("Connect", {}, ""),
        (
            "Connect/Stream",
            {"url": STREAM, "statusCallback": STATUS, "statusCallbackMethod": "POST"},
            "",
        ),
        ("Connect/Stream/Parameter", {"name": "token", "value": "made-up"}, ""),
        ("Redirect", {"method": "POST"}, AFTER),
    ]


def test_a_stream_in_plain_text_is_for_this_machine_alone() -> None:
    local = "ws://127.0.0.1:8081/voice/stream"
    assert outline(stream(local, STATUS, AFTER, "t"))[1][1]["url"] == local
    assert stream("ws://[::1]:1/s", STATUS, AFTER, "t")


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("ws://voice.example.com/voice/stream", "31922"),
        ("https://voice.example.com/voice/stream", "31922"),
        ("wss:///voice/stream", "31922"),
        ("", "31922"),
        (f"{STREAM}?token=made-up", "31920"),
        (f"{STREAM}?", "31920"),
        (f"{STREAM}#rc=2", "31920"),
        ("wss://voice.example.com", "plain path"),
        ("wss://voice.example.com/", "plain path"),
        ("wss://voice.example.com//voice/stream", "plain path"),
    ],
)
def test_a_stream_that_twilio_would_not_open_is_not_written(url: str, because: str) -> None:
    with pytest.raises(ValueError, match=because):
        stream(url, STATUS, AFTER, "made-up")


@pytest.mark.parametrize("token", ["", "t" * 495, "t\x00"])
def test_a_token_that_a_parameter_cannot_carry_is_not_written(token: str) -> None:
    with pytest.raises(ValueError, match=r"the stream's token has [0-9]+ characters"):
        stream(STREAM, STATUS, AFTER, token)


def test_the_longest_token_is_written() -> None:
    assert outline(stream(STREAM, STATUS, AFTER, "t" * 494))[2][1]["value"] == "t" * 494


@pytest.mark.parametrize("text", ["Hello.", "Fish & chips <now> \"for\" 'two'", "Grüße\n日本 👍"])
def test_a_text_is_said_and_then_the_call_ends(text: str) -> None:
    assert outline(say(text)) == [("Say", {}, text), ("Hangup", {}, "")]


@pytest.mark.parametrize("text", ["", " \n", "a\x00b", "a\x0bb", "\ud800", "\uffff"])
def test_what_cannot_be_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"text to say|control characters"):
        say(text)


def test_a_text_is_as_long_as_twilio_allows_and_no_longer() -> None:
    assert check_text("a" * SAY_LIMIT)
    with pytest.raises(ValueError, match="at most 4096 characters to say, not 4097"):
        check_text("a" * (SAY_LIMIT + 1))


def test_a_document_in_a_request_is_as_long_as_twilio_allows_and_no_longer() -> None:
    frame = len(say("a")) - 1
    assert check_inline(say("a" * (INLINE_LIMIT - frame)))
    with pytest.raises(ValueError, match="at most 4000 characters of TwiML, not 4001"):
        check_inline(say("a" * (INLINE_LIMIT - frame + 1)))


def test_an_apology_is_spoken() -> None:
    assert outline(apology()) == [("Say", {}, APOLOGY), ("Hangup", {}, "")]


def test_what_follows_a_stream_depends_on_how_it_went() -> None:
    assert outline(after_stream(True)) == [("Hangup", {}, "")]
    assert [element[0] for element in outline(after_stream(False))] == ["Say", "Hangup"]


@pytest.mark.parametrize("reason", ["busy", "rejected"])
def test_an_inbound_call_is_refused_before_it_costs(reason: str) -> None:
    assert outline(refusal(reason)) == [  # type: ignore[arg-type]
        ("Reject", {"reason": reason}, "")
    ]


def test_a_call_can_simply_end() -> None:
    assert outline(hangup()) == [("Hangup", {}, "")]
