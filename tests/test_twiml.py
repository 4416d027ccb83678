"""Which streams a TwiML document advertises, and what Twilio's forms tell of a call."""

import gzip
import tracemalloc
import zlib

import pytest

from proxy.twiml import (
    BUSY_LIMIT_S,
    DOCUMENT_LIMIT,
    PLAY_S,
    Posted,
    advertised_streams,
    decoded,
    read_form,
)

URL = "wss://voice.example.com/voice/stream"
OTHER = "wss://voice.example.com/other"
STREAM = f'<Stream url="{URL}"/>'
CALL_SID = "CA" + "0" * 32


def urls_in(document: str | bytes) -> list[str]:
    data = document if isinstance(document, bytes) else document.encode()
    return [stream.url for stream in advertised_streams(data)]


@pytest.mark.parametrize(
    ("document", "urls"),
    [
        pytest.param(f"<Response><Connect>{STREAM}</Connect></Response>", [URL], id="connect"),
        pytest.param(f"<Response><Start>{STREAM}</Start></Response>", [URL], id="start"),
        pytest.param(
            f'<Response><Start>{STREAM}</Start><Connect><Stream url="{OTHER}"/></Connect>'
            "</Response>",
            [URL, OTHER],
            id="both, in the order of the document",
        ),
        pytest.param(
            f'<Response><Say>hi</Say><Connect action="/next"><Stream name="a" url="{URL}">'
            '<Parameter name="token" value="x"/></Stream></Connect><Pause length="40"/></Response>',
            [URL],
            id="among other verbs",
        ),
        pytest.param(
            f'<Response><Start>{STREAM}<Stream url="{OTHER}"/></Start></Response>',
            [URL, OTHER],
            id="two of one verb",
        ),
        pytest.param(f"<Response><Connect/>{STREAM}</Response>", [], id="behind its verb"),
        pytest.param(f"<Response><Stop>{STREAM}</Stop></Response>", [], id="stop"),
        pytest.param(f"<Response>{STREAM}</Response>", [], id="no parent verb"),
        pytest.param(
            f"<Response><Connect><Room>{STREAM}</Room></Connect></Response>", [], id="grandchild"
        ),
        pytest.param(STREAM, [], id="root"),
        pytest.param(
            '<Response><Connect><Stream name="a"/></Connect></Response>', [], id="without url"
        ),
        pytest.param(
            f'<Response><Connect><stream url="{URL}"/></Connect></Response>', [], id="wrong case"
        ),
        pytest.param(
            "<Response><Connect><ConversationRelay url='wss://a/b'/></Connect></Response>",
            [],
            id="another noun",
        ),
    ],
)
def test_a_stream_counts_only_directly_under_connect_or_start(
    document: str, urls: list[str]
) -> None:
    assert urls_in(document) == urls


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("wss://a/b?x=1&amp;y=2", "wss://a/b?x=1&y=2", id="ampersand"),
        pytest.param("wss://a/&#x62;&#99;", "wss://a/bc", id="character references"),
        pytest.param("wss://a/é", "wss://a/é", id="utf-8"),
    ],
)
def test_entities_in_a_url_are_decoded(written: str, meant: str) -> None:
    document = f'<Response><Connect><Stream url="{written}"/></Connect></Response>'
    assert urls_in(document) == [meant]


def test_a_stream_in_a_comment_or_cdata_is_not_advertised() -> None:
    document = (
        f"<Response><!-- <Connect>{STREAM}</Connect> -->"
        f"<Say><![CDATA[<Connect>{STREAM}</Connect>]]></Say></Response>"
    )
    assert urls_in(document) == []


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("latin-1", "ISO-8859-1"), ("cp1252", "cp1252")],
)
def test_the_declared_encoding_is_used(encoding: str, declared: str) -> None:
    document = (
        f'<?xml version="1.0" encoding="{declared}"?>'
        '<Response><Connect><Stream url="wss://é/"/></Connect></Response>'
    )
    assert urls_in(document.encode(encoding)) == ["wss://é/"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(f"<Response><Connect>{STREAM}</Connect>".encode(), id="cut short"),
        pytest.param(f"<Response><Connect>{STREAM}</Start></Response>".encode(), id="crossed"),
        pytest.param(f"<Response><Connect>{STREAM}</Connect>&</Response>".encode(), id="bare &"),
        pytest.param(f"<Response><Connect>{STREAM}</Connect></Response>x".encode(), id="trailing"),
        pytest.param(b"<!doctype html><html><p>It works!</html>", id="html"),
        pytest.param(b'{"Response": {}}', id="json"),
        pytest.param(b"\xff\xfe\x00\xd8", id="half a surrogate"),
        pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
        pytest.param(b"<a>" * 20_000, id="deep"),
    ],
)
def test_what_is_not_well_formed_advertises_nothing(document: bytes) -> None:
    assert urls_in(document) == []


@pytest.mark.parametrize("encoding", ["nonsense", "base64", "utf-7", "idna"])
def test_an_encoding_that_cannot_be_used_advertises_nothing(encoding: str) -> None:
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?>'
        f"<Response><Connect>{STREAM}</Connect></Response>"
    )
    assert urls_in(document) == []


@pytest.mark.parametrize(
    "declaration",
    [
        pytest.param("<!DOCTYPE Response>", id="bare"),
        pytest.param('<!DOCTYPE Response SYSTEM "http://192.0.2.1/x.dtd">', id="external"),
        pytest.param(
            '<!DOCTYPE r [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>', id="entities"
        ),
    ],
)
def test_a_document_type_is_refused(declaration: str) -> None:
    document = f"{declaration}<Response><Connect>{STREAM}</Connect></Response>"
    assert urls_in(document) == []


CONNECT = f"<Connect>{STREAM}</Connect>"


@pytest.mark.parametrize(
    ("before", "after_s"),
    [
        pytest.param("", 0, id="at once"),
        pytest.param("<Pause/>", 1, id="pause"),
        pytest.param('<Pause length="7"/><Pause length="2"/>', 9, id="pauses"),
        pytest.param("<Say>" + "a word or " * 4 + "</Say>", 4, id="say"),
        pytest.param('<Say loop="3">0123456789</Say>', 3, id="say thrice"),
        pytest.param("<Say>01<break/>23<emphasis>456789</emphasis></Say>", 1, id="ssml"),
        pytest.param("<Say>" + "x" * 9000 + "</Say>", BUSY_LIMIT_S, id="a novel"),
        pytest.param("<Play>https://a/greeting.mp3</Play>", PLAY_S, id="play"),
        pytest.param('<Say loop="many">0123456789</Say>', 1, id="no number"),
        pytest.param(f"<Start>{STREAM}</Start><Stop><Stream/></Stop>", 0, id="not blocking"),
    ],
)
def test_a_stream_is_due_once_twilio_has_said_what_stands_before_it(
    before: str, after_s: float
) -> None:
    document = f"<Response>{before}{CONNECT}</Response>".encode()
    assert advertised_streams(document)[-1] == (URL, after_s)


@pytest.mark.parametrize(
    "before",
    [
        "<Gather/>",
        "<Dial>+15550001</Dial>",
        "<Redirect>/other</Redirect>",
        "<Hangup/>",
        "<Reject/>",
        "<Record/>",
        "<Connect><ConversationRelay url='wss://a/b'/></Connect>",
        '<Play loop="0">https://a/music.mp3</Play>',
        "<Unheard/>",
    ],
)
def test_a_stream_that_the_call_may_never_come_to_is_no_promise(before: str) -> None:
    assert urls_in(f"<Response>{before}{CONNECT}</Response>") == []
    assert urls_in(f"<Response>{CONNECT}{before}</Response>") == [URL]


def test_spaces_around_a_url_are_not_part_of_it() -> None:
    document = f'<Response><Connect><Stream url=" {URL}\n"/></Connect></Response>'
    assert urls_in(document) == [URL]


DOCUMENT = f"<Response>{CONNECT}</Response>".encode()


@pytest.mark.parametrize(
    ("codings", "content"),
    [
        ([], DOCUMENT),
        (["gzip"], gzip.compress(DOCUMENT)),
        (["X-GZIP"], gzip.compress(DOCUMENT)),
        (["deflate"], zlib.compress(DOCUMENT)),
    ],
    ids=["plain", "gzip", "x-gzip", "deflate"],
)
def test_a_document_is_read_through_its_content_coding(codings: list[str], content: bytes) -> None:
    assert decoded(content, codings) == DOCUMENT


@pytest.mark.parametrize(
    ("codings", "content"),
    [
        pytest.param(["br"], DOCUMENT, id="unknown"),
        pytest.param(["gzip", "gzip"], gzip.compress(gzip.compress(DOCUMENT)), id="twice"),
        pytest.param(["gzip"], DOCUMENT, id="not what it says"),
        pytest.param(["gzip"], gzip.compress(DOCUMENT)[:-9], id="cut short"),
        pytest.param(["gzip"], b"", id="empty"),
        pytest.param(["gzip"], gzip.compress(b" " * (DOCUMENT_LIMIT + 1)), id="too long inside"),
        pytest.param(["gzip"], gzip.compress(bytes(1 << 24)), id="a bomb"),
    ],
)
def test_what_cannot_be_decoded_within_bounds_is_left_unread(
    codings: list[str], content: bytes
) -> None:
    assert decoded(content, codings) is None


def test_a_bomb_is_defused_before_it_goes_off() -> None:
    bomb = gzip.compress(bytes(1 << 24))
    tracemalloc.start()
    try:
        assert decoded(bomb, ["gzip"]) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_document_of_the_longest_permitted_length_is_decoded() -> None:
    content = b" " * DOCUMENT_LIMIT
    assert decoded(gzip.compress(content), ["gzip"]) == content


@pytest.mark.parametrize(
    ("form", "posted"),
    [
        pytest.param(f"CallSid={CALL_SID}&From=%2B1555", Posted(CALL_SID, False), id="first"),
        pytest.param(f"From=%2B1555&CallSid={CALL_SID}", Posted(CALL_SID, False), id="last"),
        pytest.param("CallSid=CA1&CallSid=CA2", Posted("CA1", False), id="twice"),
        pytest.param("CallSid=" + "x" * 100, Posted("x" * 64, False), id="too long"),
        pytest.param("CallSid=CA1&CallStatus=in-progress", Posted("CA1", False), id="in progress"),
        pytest.param("CallSid=CA1&CallStatus=completed", Posted("CA1", True), id="completed"),
        pytest.param("CallSid=CA1&CallStatus=no-answer", Posted("CA1", True), id="no answer"),
        pytest.param(
            "CallSid=CA1&StreamEvent=stream-started&StreamSid=MZ1",
            Posted("CA1", False, "stream-started"),
            id="stream started",
        ),
        pytest.param(
            "CallSid=CA1&StreamEvent=stream-error&StreamError=31920+-+Stream+-+Handshake",
            Posted("CA1", False, "stream-error", 31920),
            id="stream error",
        ),
        pytest.param(
            "CallSid=CA1&StreamEvent=stream-error&StreamError=it+failed+after+123456+ms",
            Posted("CA1", False, "stream-error"),
            id="an error without a code",
        ),
    ],
)
def test_a_form_tells_of_its_call(form: str, posted: Posted) -> None:
    assert read_form(form.encode()) == posted


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"CallSid=", id="empty"),
        pytest.param(b"From=a&CallStatus=completed", id="absent"),
        pytest.param(b"callsid=CA1", id="other case"),
        pytest.param(b"\xff\xd8\xff", id="not a form"),
        pytest.param(b"&".join(b"a=b" for _ in range(300)), id="too many fields"),
    ],
)
def test_a_form_that_names_no_call_tells_nothing(form: bytes) -> None:
    assert read_form(form) is None
