"""Which streams a TwiML document advertises, and which promises an upgrade keeps."""

import pytest

from proxy.twiml import (
    ARRIVAL_S,
    PENDING_LIMIT,
    AdvertisedStreams,
    advertised_streams,
    posted_call_sid,
)

URL = "wss://voice.example.com/voice/stream"
OTHER = "wss://voice.example.com/other"
STREAM = f'<Stream url="{URL}"/>'
CALL_SID = "CA" + "0" * 32


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
    assert advertised_streams(document.encode()) == urls


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
    assert advertised_streams(document.encode()) == [meant]


def test_a_stream_in_a_comment_or_cdata_is_not_advertised() -> None:
    document = (
        f"<Response><!-- <Connect>{STREAM}</Connect> -->"
        f"<Say><![CDATA[<Connect>{STREAM}</Connect>]]></Say></Response>"
    )
    assert advertised_streams(document.encode()) == []


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("latin-1", "ISO-8859-1"), ("cp1252", "cp1252")],
)
def test_the_declared_encoding_is_used(encoding: str, declared: str) -> None:
    document = (
        f'<?xml version="1.0" encoding="{declared}"?>'
        '<Response><Connect><Stream url="wss://é/"/></Connect></Response>'
    )
    assert advertised_streams(document.encode(encoding)) == ["wss://é/"]


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
    assert advertised_streams(document) == []


@pytest.mark.parametrize("encoding", ["nonsense", "base64", "utf-7", "idna"])
def test_an_encoding_that_cannot_be_used_advertises_nothing(encoding: str) -> None:
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?>'
        f"<Response><Connect>{STREAM}</Connect></Response>"
    )
    assert advertised_streams(document.encode()) == []


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
    assert advertised_streams(document.encode()) == []


@pytest.mark.parametrize(
    ("form", "call_sid"),
    [
        pytest.param(f"CallSid={CALL_SID}&From=%2B1555".encode(), CALL_SID, id="first"),
        pytest.param(f"From=%2B1555&CallSid={CALL_SID}".encode(), CALL_SID, id="last"),
        pytest.param(b"CallSid=CA1&CallSid=CA2", "CA1", id="twice"),
        pytest.param(b"CallSid=" + b"x" * 100, "x" * 64, id="too long"),
        pytest.param(b"CallSid=", None, id="empty"),
        pytest.param(b"From=a", None, id="absent"),
        pytest.param(b"callsid=CA1", None, id="other case"),
        pytest.param(b"\xff\xd8\xff", None, id="not a form"),
        pytest.param(b"&".join(b"a=b" for _ in range(300)), None, id="too many fields"),
    ],
)
def test_the_call_sid_is_read_from_a_webhooks_form(form: bytes, call_sid: str | None) -> None:
    assert posted_call_sid(form) == call_sid


def expecting(*urls: str) -> AdvertisedStreams:
    streams = AdvertisedStreams()
    for number, url in enumerate(urls):
        streams.expect([url], f"CA{number}", f"exchange {number}", float(number))
    return streams


@pytest.mark.parametrize(
    ("url", "path"),
    [
        pytest.param(URL, "/voice/stream", id="as advertised"),
        pytest.param(URL + "?token=x", "/voice/stream", id="without the query that Twilio drops"),
        pytest.param(URL, "/stream", id="a prefix was stripped"),
        pytest.param(URL, "/", id="the whole path was stripped"),
        pytest.param(URL, "/gateway/voice/stream", id="a prefix was added"),
        pytest.param(URL + "/", "/voice/stream", id="a slash was lost"),
        pytest.param("wss://voice.example.com", "/", id="no path"),
    ],
)
def test_an_upgrade_keeps_the_promise_of_its_path(url: str, path: str) -> None:
    streams = expecting(url)
    kept = streams.receive_upgrade(path)
    assert kept is not None
    assert (kept.url, kept.call_sid, kept.exchange) == (url, "CA0", "exchange 0")
    assert len(streams) == 0
    assert streams.receive_upgrade(path) is None


@pytest.mark.parametrize("path", ["/voice", "/eam", "/voice/streams", "/voice/stream/CA1"])
def test_an_upgrade_of_another_path_keeps_no_promise(path: str) -> None:
    streams = expecting(URL)
    assert streams.receive_upgrade(path) is None
    assert len(streams) == 1


def test_of_two_promises_for_one_path_the_older_is_kept_first() -> None:
    streams = expecting(URL, OTHER, URL)
    kept = [streams.receive_upgrade("/voice/stream") for _ in range(3)]
    assert [advertised and advertised.exchange for advertised in kept] == [
        "exchange 0",
        "exchange 2",
        None,
    ]
    assert len(streams) == 1


def test_a_promise_is_overdue_after_its_time_and_told_once() -> None:
    streams = expecting(URL, OTHER)
    assert streams.overdue(ARRIVAL_S - 0.1) == []
    [late] = streams.overdue(ARRIVAL_S)
    assert (late.url, late.path, late.at) == (URL, "/voice/stream", 0.0)
    assert streams.overdue(ARRIVAL_S) == []
    assert streams.receive_upgrade("/voice/stream") is None
    [late] = streams.overdue(ARRIVAL_S + 1)
    assert late.url == OTHER
    assert len(streams) == 0


def test_promises_are_bounded() -> None:
    streams = AdvertisedStreams()
    streams.expect([URL] * (PENDING_LIMIT + 1), None, "a", 0.0)
    streams.expect([OTHER], None, "b", 0.0)
    assert len(streams) == PENDING_LIMIT
    assert streams.receive_upgrade("/other") is None


def test_a_url_that_cannot_be_split_is_passed_over() -> None:
    streams = expecting("wss://[::1/stream", URL)
    assert len(streams) == 1
    assert streams.receive_upgrade("/voice/stream") is not None
