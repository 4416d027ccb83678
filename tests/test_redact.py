"""Redaction: what may be secret is never written down, and what explains a failure still is."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.http1 import Fields
from proxy.redact import (
    HEX_LIMIT,
    HIDDEN,
    NAME_LIMIT,
    TARGET_LIMIT,
    VALUE_LIMIT,
    shown_headers,
    shown_raw_head,
    shown_target,
    shown_text,
    shown_value,
)

SECRET = "s3cretS3cretS3cretS3cret"
CALL = "CA" + "0123456789abcdef" * 2
STREAM = "MZ" + "fedcba9876543210" * 2
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


# Values


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Twilio-Signature",
        "X-Api-Key",
        "Referer",
        "Location",
        "WWW-Authenticate",
        "Tailscale-User-Login",
        "Cf-Access-Jwt-Assertion",
        "X-Anything-New",
    ],
)
def test_a_value_that_is_not_on_the_list_is_never_shown(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        assert shown_value(spelling, SECRET) is None
        assert shown_headers(((spelling, SECRET),))[spelling] == "present"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "voice.example.com:8080"),
        ("UPGRADE", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("X-Forwarded-For", "192.0.2.7, 2001:db8:85a3:8d3:1319:8a2e:370:7348"),
        ("CF-Ray", "7d9f8e6c5b4a3210-FRA"),
        ("User-Agent", "Twilio.TmeWs/1.0"),
        ("I-Twilio-Idempotency-Token", UUID),
        ("Proxy-Status", "inner; error=connection_refused"),
        ("Sec-WebSocket-Protocol", "audio.twilio.com, mqtt"),
        ("Origin", "https://1a2b-203-0-113-7.ngrok-free.app"),
        ("Origin", "null"),
        ("Via", ""),
    ],
)
def test_what_explains_a_failure_is_shown_as_it_came(name: str, value: str) -> None:
    assert shown_value(name, value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SECRET, HIDDEN),
        (f"realtime, openai-insecure-api-key.sk-{SECRET}", f"realtime, {HIDDEN}"),
        (f"{SECRET}, mqtt", f"{HIDDEN}, mqtt"),
        (f"mqtt,{JWT},amqp", f"mqtt,{HIDDEN},amqp"),
        (f"Bearer {SECRET}", f"Bearer {HIDDEN}"),
        (f'"{SECRET}"', f'"{HIDDEN}"'),
        (f"token|{SECRET}", f"token|{HIDDEN}"),
        (f"call.{CALL}", f"{HIDDEN}"),
        (CALL, CALL),
    ],
)
def test_a_token_among_the_subprotocols_is_hidden_and_the_others_stay(
    value: str, shown: str
) -> None:
    assert shown_value("Sec-WebSocket-Protocol", value) == shown


def test_an_origin_that_is_no_origin_is_searched_for_tokens() -> None:
    assert shown_value("Origin", SECRET) == HIDDEN


def test_a_long_value_is_cut() -> None:
    assert shown_value("User-Agent", "x" * 2000) == "x" * VALUE_LIMIT
    joined = shown_headers((("Via", "x" * 400), ("Via", "y" * 400)))["Via"]
    assert joined == ("x" * 400 + ", " + "y" * 400)[:VALUE_LIMIT]


# Headers


def test_names_are_told_in_their_order_and_spelling() -> None:
    fields: Fields = (
        ("hOsT", "a"),
        ("X-Twilio-Signature", SECRET),
        ("Via", "1.1 a"),
        ("COOKIE", SECRET),
        ("VIA", "1.1 b"),
        ("cookie", SECRET),
    )
    assert list(shown_headers(fields).items()) == [
        ("hOsT", "a"),
        ("X-Twilio-Signature", "present"),
        ("Via", "1.1 a, 1.1 b"),
        ("COOKIE", "present"),
    ]


def test_a_missing_signature_is_told_and_a_present_one_only_as_present() -> None:
    assert shown_headers(()) == {"X-Twilio-Signature": "absent"}
    assert shown_headers((("x-twilio-signature", ""),)) == {"x-twilio-signature": "present"}


# Targets


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        pytest.param("/voice/stream", "/voice/stream", id="plain"),
        pytest.param("*", "*", id="asterisk"),
        pytest.param("/a//b%2Fc;d/", "/a//b%2Fc;d/", id="odd path"),
        pytest.param("/a?", "/a?", id="empty query"),
        pytest.param("/a?b=c", f"/a?b={HIDDEN}", id="query value"),
        pytest.param(
            "/a?b=c&d&e=&f==g", f"/a?b={HIDDEN}&{HIDDEN}&e={HIDDEN}&f={HIDDEN}", id="query"
        ),
        pytest.param("/a?b=/c?d=e", f"/a?b={HIDDEN}", id="question mark in a value"),
        pytest.param(f"/a?{SECRET}", f"/a?{HIDDEN}", id="token as the query"),
        pytest.param(f"/a?{SECRET}==", f"/a?{HIDDEN}={HIDDEN}", id="padded token as the query"),
        pytest.param(f"/a?{SECRET}=1", f"/a?{HIDDEN}={HIDDEN}", id="token as a query name"),
        pytest.param(f"/voice/{SECRET}", f"/voice/{HIDDEN}", id="token in the path"),
        pytest.param(
            f"/voice/{SECRET}/a?b", f"/voice/{HIDDEN}/a?{HIDDEN}", id="token inside the path"
        ),
        pytest.param(f"/voice/{JWT}", f"/voice/{HIDDEN}", id="JWT"),
        pytest.param(f"/voice/{UUID}", f"/voice/{HIDDEN}", id="UUID"),
        pytest.param(f"/voice;t={SECRET}", f"/voice;t={HIDDEN}", id="path parameter"),
        pytest.param("/v;t=hunter2/s", f"/v;t={HIDDEN}/s", id="short path parameter"),
        pytest.param("/key=hunter2/s", f"/key={HIDDEN}/s", id="assignment in the path"),
        pytest.param("/a?hunter2", f"/a?{HIDDEN}", id="short word as the query"),
        pytest.param(f"/voice/a:{SECRET}@b", f"/voice/a:{HIDDEN}@b", id="token in a segment"),
        pytest.param(f"/a#{SECRET}", f"/a#{HIDDEN}", id="fragment"),
        pytest.param("http://u:hunter2@h/a", f"http://{HIDDEN}@h/a", id="userinfo"),
        pytest.param("http://h/a?b=c", f"http://h/a?b={HIDDEN}", id="absolute"),
        pytest.param(f"/voice/{CALL}/{STREAM}", f"/voice/{CALL}/{STREAM}", id="SIDs"),
        pytest.param(f"/voice/{CALL}0", f"/voice/{HIDDEN}", id="more than a SID"),
        pytest.param("/many-words-and-no-number", "/many-words-and-no-number", id="words"),
        pytest.param("/" + "1" * 30, "/" + "1" * 30, id="digits"),
        pytest.param("/v2/stream-1", "/v2/stream-1", id="short"),
        pytest.param("", "", id="empty"),
    ],
)
def test_query_values_and_tokens_in_the_path_are_hidden(target: str, shown: str) -> None:
    assert shown_target(target) == shown


def test_a_long_target_is_cut_after_its_secrets_were_hidden() -> None:
    padding = "/" + "a" * (TARGET_LIMIT - 5)
    assert shown_target(padding + "/" + SECRET) == padding + "/" + HIDDEN[:3]


# Heads that could not be parsed


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(
            b"GET /voice?token=abc HTTP/1.1\r\nHost: a\r\nCookie: abc \r\nhunter2\r\n\r\n",
            f"GET /voice?token={HIDDEN} HTTP/1.1\r\nHost: a\r\n"
            "Cookie: [3 bytes]\r\n[7 bytes]\r\n\r\n",
            id="field without a colon",
        ),
        pytest.param(
            b"GET / HTTP/1.1\nHost : a\nUPGRADE:websocket\n\n",
            "GET / HTTP/1.1\nHost : a\nUPGRADE:websocket\n\n",
            id="bare LF",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\rAuthorization: Bearer hunter2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rAuthorization: [14 bytes]\r\n\r\n",
            id="bare CR",
        ),
        pytest.param(
            b"GET / HTTP/1.1\rAuthorization: hunter2\r\n\r\n",
            "GET / HTTP/1.1\rAuthorization: [7 bytes]\r\n\r\n",
            id="bare CR behind the request line",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\0Authorization: hunter2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [24 bytes]\r\n\r\n",
            id="NUL",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nCookie: a\r\n hunter2: b\r\n\r\n",
            "GET / HTTP/1.1\r\nCookie: [1 bytes]\r\n[10 bytes]\r\n\r\n",
            id="fold",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nA b: c\r\n\r\nCallSid=CA1&From=%2B1555\r\n",
            "POST / HTTP/1.1\r\n[6 bytes]\r\n\r\n[24 bytes]\r\n",
            id="body behind the head",
        ),
        pytest.param(b"GET /a b HTTP/1.1\r\n", "GET /a b HTTP/1.1\r\n", id="space in the target"),
        pytest.param(b"GET /a?b=c d\r\n", f"GET /a?b={HIDDEN}\r\n", id="space in the query"),
        pytest.param(b"GET /a\r\n", "GET /a\r\n", id="HTTP/0.9"),
        pytest.param(b"OPTIONS * HTTP/1.1\n", "OPTIONS * HTTP/1.1\n", id="asterisk"),
        pytest.param(b"GET http://u@h/a\n", f"GET http://{HIDDEN}@h/a\n", id="http"),
        pytest.param(b"GET https://h/?a=b\n", f"GET https://h/?a={HIDDEN}\n", id="https"),
        pytest.param(b"\nGET / HTTP/1.1", "\n[14 bytes]", id="LF first"),
        pytest.param(b"GET a/b HTTP/1.1\r\n", "GET [3 bytes] HTTP/1.1\r\n", id="not a target"),
        pytest.param(b"GET  HTTP/1.1\r\n", "GET  HTTP/1.1\r\n", id="no target"),
        pytest.param(b"GET / HTTP/1.1 \r\n", "GET / HTTP/1.1 \r\n", id="space behind"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", "HTTP/1.1 [6 bytes]\r\n", id="response"),
        pytest.param(b"&AuthToken=hunter2", "[18 bytes]", id="end of a body"),
        pytest.param(b"my word is hunter2", "[2 bytes] [15 bytes]", id="end of a text"),
        pytest.param(b"Cookie: a=hunter2\r\n", "[7 bytes] [9 bytes]\r\n", id="no request line"),
        pytest.param(b"GET /a hunter2/1.1\r\n", "GET /a hunter2/1.1\r\n", id="path with a space"),
        pytest.param(b"\r\n\r\n\0\r\nQUIT\n", "\r\n\r\n[1 bytes]\r\n[4 bytes]\n", id="PROXY v2"),
        pytest.param(b"\x16\x03\x01\x00\xc4", "16 03 01 00 c4", id="TLS"),
        pytest.param(b"\x80" * 100, " ".join(["80"] * HEX_LIMIT), id="no text"),
    ],
)
def test_a_head_that_could_not_be_parsed_is_shown_line_by_line(raw: bytes, shown: str) -> None:
    assert shown_raw_head(raw) == shown


def test_a_name_too_long_or_too_odd_to_be_one_is_measured() -> None:
    name = "x" * NAME_LIMIT
    lines = f"GET /\n{name}: a\n{name}x: a\n{SECRET}: a\n".encode()
    assert shown_raw_head(lines) == f"GET /\n{name}: [1 bytes]\n[68 bytes]\n[27 bytes]\n"


@pytest.mark.parametrize(
    "where", ["GET /{} HTTP/1.1", "{} / HTTP/1.1", "GET / {}", "{}", " {}", "{}:", "HTTP/1.1 {}"]
)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", ""])
def test_a_secret_anywhere_in_the_first_line_is_hidden(where: str, end: str) -> None:
    assert SECRET not in shown_raw_head((where.format(SECRET) + end).encode())


PARTS = [b"GET ", b"/", b"?", b"&", b"=", b" HTTP/1.1", b"\r\n", b"\r", b"\n", b" ", b":", b";"]
NOISE = st.lists(st.sampled_from([*PARTS, b"Cookie", b"a", b"\0", b"\xff"])) | st.lists(
    st.binary(), max_size=1
)


@given(NOISE.map(b"".join), NOISE.map(b"".join))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_a_secret_in_arbitrary_bytes_is_never_shown(before: bytes, behind: bytes) -> None:
    name = re.split(rb"[\r\n]", before)[-1].partition(b":")[0].decode("latin-1").strip()
    assume(shown_value(name, "") is None)
    assert SECRET not in shown_raw_head(before + SECRET.encode() + behind)
    assert SECRET not in shown_target((before + SECRET.encode() + behind).decode("latin-1"))


@given(NOISE.map(b"".join))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_a_raw_head_keeps_its_lines(raw: bytes) -> None:
    shown = shown_raw_head(raw)
    if shown != raw[:HEX_LIMIT].hex(" "):
        assert re.findall("[\r\n]", shown) == re.findall("[\r\n]", raw.decode("latin-1"))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Origin", "https://u:hunter2@h/?t=hunter2", f"https://{HIDDEN}@h/"),
        ("Host", "u:hunter2@h", f"{HIDDEN}@h"),
        ("Host", "voice.example.com:8443", "voice.example.com:8443"),
        (
            "Forwarded",
            'for="[2001:db8::1]";proto=https;secret=hunter2, for=192.0.2.1; x=hunter2',
            f'for="[2001:db8::1]";proto=https;secret={HIDDEN}, for=192.0.2.1; x={HIDDEN}',
        ),
    ],
)
def test_what_a_url_or_a_parameter_may_carry_beside_a_name_is_hidden(
    name: str, value: str, shown: str
) -> None:
    assert shown_value(name, value) == shown


def test_text_of_a_peer_is_shown_without_what_looks_like_a_token() -> None:
    assert shown_text("404 page not found") == "404 page not found"
    assert shown_text('{"token": "abc123DEF456ghi789JKL"}') == '{"token": "[hidden]"}'
