"""TwiML into verbs, and the codes of what Twilio refuses or remarks on."""

import inspect
from collections.abc import Callable

import pytest
from twilio.twiml import lower_camel, voice_response
from twilio.twiml.voice_response import VoiceResponse

from doctor.caller import verbs
from doctor.caller.documents import DEPTH_LIMIT, Document, Refused, read_answer, read_document
from doctor.caller.verbs import ATTRIBUTES, NOT_SIMULATED, Verb
from doctor.errors import Objection

STREAM = "wss://voice.example.com/voice/stream"
GATHER = (
    '<Gather action="/d" numDigits="4" timeout="3" finishOnKey="*" input="dtmf speech"'
    ' actionOnEmptyResult="true"><Say>Code?</Say><Pause/></Gather>'
)
CONNECT = (
    f'<Connect action="/after"><Stream url="{STREAM}" name="s"'
    ' statusCallback="https://a/cb" statusCallbackMethod="GET">'
    '<Parameter name="token" value="t&amp;1"/></Stream></Connect>'
)


def read(body: str) -> Document:
    return read_document(f"<Response>{body}</Response>".encode())


def only(body: str) -> Verb:
    document = read(body)
    assert document.objections == ()
    [verb] = document.verbs
    return verb


def codes(document: Document) -> list[int | None]:
    return [objection.code for objection in document.objections]


@pytest.mark.parametrize(
    ("body", "verb"),
    [
        ("<Say>Hello</Say>", verbs.Say("Hello")),
        ('<Say voice="alice" language="en-AU" loop="3"> a\n b </Say>', verbs.Say("a b", 3)),
        ('<Say loop="0">on</Say>', verbs.Say("on", 1000)),
        ("<Play>https://a/b.wav</Play>", verbs.Play("https://a/b.wav")),
        ('<Play digits="12w3"/>', verbs.Play("", 1, "12w3")),
        ("<Pause/>", verbs.Pause(1.0)),
        ('<Pause length="40"/>', verbs.Pause(40.0)),
        ("<Redirect>/next?a=1&amp;b=2</Redirect>", verbs.Redirect("/next?a=1&b=2")),
        ('<Redirect method="GET"> next </Redirect>', verbs.Redirect("next", "GET")),
        ("<Hangup/>", verbs.Hangup()),
        ("<Reject/>", verbs.Reject()),
        ('<Reject reason="busy"/>', verbs.Reject("busy")),
        ("<Leave/>", verbs.Leave()),
        ("<Gather/>", verbs.Gather()),
        (
            GATHER,
            verbs.Gather(
                (verbs.Say("Code?"), verbs.Pause()), "/d", "POST", 3.0, 4, "*", True, True
            ),
        ),
        ('<Gather input="speech"/>', verbs.Gather(takes_digits=False)),
        (f'<Connect><Stream url="{STREAM}"/></Connect>', verbs.Connect(verbs.Stream(STREAM))),
        (
            CONNECT,
            verbs.Connect(
                verbs.Stream(STREAM, "s", "inbound_track", "https://a/cb", "GET", {"token": "t&1"}),
                "/after",
            ),
        ),
        (
            f'<Start><Stream url="{STREAM}" track="both_tracks"/></Start>',
            verbs.Start(verbs.Stream(STREAM, track="both_tracks")),
        ),
        ('<Stop><Stream name="s"/></Stop>', verbs.Stop("s")),
    ],
)
def test_a_verb_is_read_with_its_attributes(body: str, verb: Verb) -> None:
    assert only(body) == verb


@pytest.mark.parametrize("name", NOT_SIMULATED)
def test_what_is_not_simulated_is_named_with_its_reason(name: str) -> None:
    verb = only(f'<{name} action="/after" anything="goes">+1<Number>+1</Number></{name}>')
    assert verb == verbs.NotSimulated(name, NOT_SIMULATED[name], "/after")


def test_verbs_keep_their_order_and_comments_are_nothing() -> None:
    document = read("<!-- hi --><Say>a</Say>\n  <Pause/><?php no?><Hangup/>")
    assert [type(verb).__name__ for verb in document.verbs] == ["Say", "Pause", "Hangup"]
    assert document.objections == ()


def test_markup_within_say_is_said() -> None:
    assert only("<Say>At <prosody rate='slow'>three</prosody></Say>") == verbs.Say("At three")


def test_what_twilios_own_library_writes_is_read_without_objection() -> None:
    response = VoiceResponse()
    response.say("Hello", voice="Polly.Joanna", language="en-US", loop=2)
    connect = response.connect(action="/after", method="POST")
    stream = connect.stream(
        url=STREAM,
        name="s",
        track="inbound_track",
        status_callback="https://a/cb",
        status_callback_method="POST",
    )
    stream.parameter(name="token", value="x")
    response.redirect("https://a/again", method="POST")
    document = read_answer("text/xml; charset=utf-8", str(response).encode())
    assert document.objections == ()
    assert [type(verb).__name__ for verb in document.verbs] == ["Say", "Connect", "Redirect"]


LIBRARY: dict[str, Callable[..., object]] = {
    **{
        name: getattr(VoiceResponse, name.lower())
        for name in "Say Play Pause Gather Redirect Hangup Reject Connect Start Stop Leave".split()
    },
    "Stream": voice_response.Connect.stream,
    "Parameter": voice_response.Stream.parameter,
}
CONTENT = {"self", "message", "kwargs"} | {"url"}  # text of the element, not an attribute


@pytest.mark.parametrize("name", LIBRARY)
def test_attributes_are_those_that_twilios_library_knows(name: str) -> None:
    known = {lower_camel(key) for key in inspect.signature(LIBRARY[name]).parameters}
    known -= CONTENT if name not in ("Stream", "Parameter") else CONTENT - {"url"}
    assert known - ATTRIBUTES[name] == set()
    assert ATTRIBUTES[name] - known <= {"dtmfDetection"}  # newer than the library


def test_every_verb_of_twilios_library_is_obeyed_or_said_to_be_not() -> None:
    others = {"MAP", "add_child", "append", "nest", "to_xml", "xml"}
    public = {name for name in dir(VoiceResponse) if not name.startswith("_")} - others
    assert public == {name.lower() for name in (ATTRIBUTES.keys() | NOT_SIMULATED)} - {
        "response",
        "stream",
        "parameter",
    }


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<Speak>a</Speak>", "<Speak>"),
        ("<say>a</say>", "<say>"),
        ('<Say Voice="a">a</Say>', "'Voice'"),
        ("Hello", "text"),
        ('<Pause length="ten"/>', "length"),
        ('<Pause length="nan"/>', "length"),
        ('<Pause length="-1"/>', "length"),
        ('<Pause length="1e9"/>', "length"),
        ('<Say loop="twice">a</Say>', "loop"),
        ('<Redirect method="PUT">/a</Redirect>', "method"),
        (f'<Connect><Stream url="{STREAM}" track="all"/></Connect>', "track"),
        ("<Gather><Hangup/></Gather>", "<Hangup>"),
        (f'<Connect><Stream url="{STREAM}"><Param/></Stream></Connect>', "<Param>"),
    ],
)
def test_what_the_schema_does_not_know_is_a_warning_and_no_more(body: str, told: str) -> None:
    document = read(body + "<Hangup/>")
    assert codes(document) == [12200]
    assert told in document.objections[0].saw
    assert document.verbs[-1] == verbs.Hangup()


@pytest.mark.parametrize("verb", ["Connect", "Start"])
def test_a_connect_without_a_stream_is_left_out_and_remarked(verb: str) -> None:
    document = read(f"<{verb}><ConversationRelay url='wss://a/b'/></{verb}><Hangup/>")
    assert document.verbs == (verbs.Hangup(),)
    assert codes(document) == [12200, None]


def test_a_parameter_that_is_too_long_is_remarked() -> None:
    stream = f'<Stream url="{STREAM}"><Parameter name="a" value="{"b" * 500}"/></Stream>'
    document = read(f"<Connect>{stream}</Connect>")
    assert codes(document) == [None]
    assert "500" in document.objections[0].saw


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        pytest.param("text/xml", b"", 11770, id="empty"),
        pytest.param("text/xml", b" \r\n", 11770, id="blank"),
        pytest.param(None, b"", 11770, id="empty and untyped"),
        pytest.param(None, b"<Response/>", 11200, id="untyped"),
        pytest.param("text/html", b"<html></html>", 12300, id="HTML"),
        pytest.param("application/json", b"{}", 12300, id="JSON"),
        pytest.param("text/plain", b"<Response/>", 12300, id="TwiML as plain text"),
        pytest.param("text/xml", b"<Response/>" + b" " * 65536, 11750, id="too large"),
        pytest.param("text/xml", b"<Response>", 12100, id="unclosed"),
        pytest.param("text/xml", b"<Response><Say>a & b</Say></Response>", 12100, id="ampersand"),
        pytest.param("text/xml", b"\n<?xml version='1.0'?><Response/>", 12100, id="text in front"),
        pytest.param("text/xml", b"<Response/><Response/>", 12100, id="two roots"),
        pytest.param("text/xml", b"<Response>\xff</Response>", 12100, id="not UTF-8"),
        pytest.param(
            "text/xml", b"<?xml version='1.0' encoding='martian'?><Response/>", 12100, id="encoding"
        ),
        pytest.param("text/xml", b"<!DOCTYPE html><html></html>", 12100, id="document type"),
        pytest.param("application/xml", b"<html></html>", 12102, id="HTML as XML"),
        pytest.param("application/xml", b"<response/>", 12102, id="lower case"),
    ],
)
def test_an_answer_that_is_no_twiml_is_refused_with_its_code(
    content_type: str | None, body: bytes, code: int
) -> None:
    with pytest.raises(Refused) as refused:
        read_answer(content_type, body)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "content_type", ["text/xml", "application/xml", "Text/XML; charset=UTF-8", "text/xml;x"]
)
def test_xml_types_are_taken_however_they_are_written(content_type: str) -> None:
    assert read_answer(content_type, b"<Response/>") == Document(())


def test_an_answer_of_audio_is_played() -> None:
    [verb] = read_answer("audio/x-wav", b"RIFF").verbs
    assert verb == verbs.Play(audio=b"RIFF", content_type="audio/x-wav")


ENTITIES = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "declared",
    [
        f'<!DOCTYPE r [<!ENTITY a0 "ha">{ENTITIES}]>',
        '<!DOCTYPE r [<!ENTITY a9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/evil.dtd">',
    ],
)
def test_entities_are_neither_expanded_nor_fetched(declared: str) -> None:
    with pytest.raises(Refused, match="document type"):
        read_document(f"{declared}<Response><Say>&a9;</Say></Response>".encode())


def test_nesting_is_bounded() -> None:
    deep = "<a>" * DEPTH_LIMIT + "</a>" * DEPTH_LIMIT
    with pytest.raises(Refused, match="deep"):
        read(deep)


def refusal(body: bytes) -> int | None:
    try:
        read_document(body)
    except Refused as refused:
        return refused.code
    return None


def test_a_damaged_document_is_refused_and_raises_nothing_else() -> None:
    whole = f'<Response><Connect><Stream url="{STREAM}"/></Connect></Response>'.encode()
    damaged = {
        refusal(whole[:place] + byte + whole[place + 1 :])
        for place in range(len(whole))
        for byte in (b"", b"\0", b"<", b"&", b'"', b"\xff")
    }
    assert damaged == {None, 12100}


def test_objections_compare_by_what_was_seen() -> None:
    assert read("<A/><A/>").objections == (Objection(12200, "<A> is no verb of TwiML"),) * 2
