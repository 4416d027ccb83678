"""One upgrade: the healthy pair has no violation, and each crooked one has exactly its own."""

import pytest

from proxy.handshake import (
    SAW_LIMIT,
    Violation,
    accept_value,
    is_handshake,
    request_violations,
    response_violations,
    wants_upgrade,
)
from proxy.http1 import (
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
    with_fields,
    with_response_fields,
)

# RFC 6455 section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TOKEN = "s3cretS3cretS3cretS3cret"
UPGRADE = parse_request_head(
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other\r\n\r\n"
)
SWITCH = parse_response_head(
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def request(**fields: str | None) -> RequestHead:
    """The healthy request with fields set (underscores stand for hyphens) or, for None, removed."""
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    set_fields = [(name, value) for name, value in given.items() if value is not None]
    return with_fields(UPGRADE, set_fields=set_fields, remove=[*given])


def response(**fields: str | None) -> ResponseHead:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    set_fields = [(name, value) for name, value in given.items() if value is not None]
    return with_response_fields(SWITCH, set_fields=set_fields, remove=[*given])


def answer(status: int, *lines: str) -> ResponseHead:
    text = "\r\n".join([f"HTTP/1.1 {status} Words", *lines]) + "\r\n\r\n"
    return parse_response_head(text.encode("latin-1"))


# What is a handshake


def test_the_example_of_the_rfc_is_answered_as_there() -> None:
    assert accept_value(KEY) == ACCEPT


def test_a_key_beyond_ascii_has_an_accept_value_too() -> None:
    assert len(accept_value("caf\xe9")) == len(ACCEPT)


@pytest.mark.parametrize(
    ("head", "handshake", "wants"),
    [
        pytest.param(UPGRADE, True, True, id="healthy"),
        pytest.param(request(Connection=None), True, True, id="without Connection"),
        pytest.param(request(Upgrade="h2c, WebSocket"), True, True, id="one of two protocols"),
        pytest.param(request(Upgrade=None), True, False, id="Upgrade lost"),
        pytest.param(
            request(Upgrade=None, Connection=None, Sec_WebSocket_Version=None),
            True,
            False,
            id="told by the key alone",
        ),
        pytest.param(
            request(Upgrade=None, Sec_WebSocket_Key=None),
            True,
            False,
            id="told by the version alone",
        ),
        pytest.param(
            request(Sec_WebSocket_Key=None, Sec_WebSocket_Version=None), True, True, id="no key"
        ),
        pytest.param(
            request(Upgrade="h2c", Sec_WebSocket_Key=None, Sec_WebSocket_Version=None),
            False,
            False,
            id="another protocol",
        ),
        pytest.param(
            parse_request_head(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n"),
            False,
            False,
            id="plain",
        ),
    ],
)
def test_a_handshake_is_recognised_though_its_upgrade_was_lost(
    head: RequestHead, handshake: bool, wants: bool
) -> None:
    assert is_handshake(head) is handshake
    assert wants_upgrade(head) is wants


# Requests


def test_the_healthy_pair_has_no_violation() -> None:
    assert request_violations(UPGRADE) == []
    assert response_violations(UPGRADE, SWITCH) == []


@pytest.mark.parametrize(
    "head",
    [
        request(Upgrade="WebSocket"),
        request(Upgrade="h2c, websocket"),
        request(Connection="keep-alive, UPGRADE"),
        request(Sec_WebSocket_Protocol=None, Sec_WebSocket_Extensions=None),
        request(Origin="https://example.com", X_Forwarded_For="192.0.2.7"),
    ],
)
def test_what_the_rfc_allows_is_no_violation(head: RequestHead) -> None:
    assert request_violations(head) == []


@pytest.mark.parametrize(
    ("head", "field", "saw"),
    [
        pytest.param(
            parse_request_head(UPGRADE.raw.replace(b"GET", b"POST")), "method", "POST", id="method"
        ),
        pytest.param(
            parse_request_head(UPGRADE.raw.replace(b"HTTP/1.1", b"HTTP/1.0")),
            "HTTP version",
            "1.0",
            id="version of HTTP",
        ),
        pytest.param(request(Host=None), "Host", None, id="no Host"),
        pytest.param(request(Host=""), "Host", "", id="empty Host"),
        pytest.param(request(Upgrade=None), "Upgrade", None, id="no Upgrade"),
        pytest.param(request(Upgrade="websockets"), "Upgrade", "websockets", id="Upgrade"),
        pytest.param(request(Connection=None), "Connection", None, id="no Connection"),
        pytest.param(request(Connection="close"), "Connection", "close", id="Connection"),
        pytest.param(request(Sec_WebSocket_Key=None), "Sec-WebSocket-Key", None, id="no key"),
        pytest.param(request(Sec_WebSocket_Key=""), "Sec-WebSocket-Key", "", id="empty key"),
        pytest.param(
            request(Sec_WebSocket_Key="c2hvcnQ="), "Sec-WebSocket-Key", "c2hvcnQ=", id="short key"
        ),
        pytest.param(
            request(Sec_WebSocket_Key=KEY[:-2]), "Sec-WebSocket-Key", KEY[:-2], id="unpadded key"
        ),
        pytest.param(
            request(Sec_WebSocket_Key="!" + KEY), "Sec-WebSocket-Key", "!" + KEY, id="not base64"
        ),
        pytest.param(
            request(Sec_WebSocket_Key="\xe9" * 24), "Sec-WebSocket-Key", "\xe9" * 24, id="not ASCII"
        ),
        pytest.param(
            request(Sec_WebSocket_Version=None), "Sec-WebSocket-Version", None, id="no version"
        ),
        pytest.param(
            request(Sec_WebSocket_Version="8"), "Sec-WebSocket-Version", "8", id="version"
        ),
        pytest.param(
            request(Sec_WebSocket_Version="13, 8"), "Sec-WebSocket-Version", "13, 8", id="versions"
        ),
    ],
)
def test_a_crooked_request_has_one_violation_that_quotes_it(
    head: RequestHead, field: str, saw: str | None
) -> None:
    (violation,) = request_violations(head)
    assert (violation.section, violation.field, violation.saw) == ("4.2.1", field, saw)
    assert violation.wanted


def test_violations_come_in_the_order_of_the_rfc() -> None:
    head = parse_request_head(b"POST / HTTP/1.0\r\n\r\n")
    assert [violation.field for violation in request_violations(head)] == [
        "method",
        "HTTP version",
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
    ]


def test_two_keys_are_one_violation_that_quotes_both() -> None:
    head = parse_request_head(UPGRADE.raw[:-2] + f"Sec-WebSocket-Key: {KEY}\r\n\r\n".encode())
    (violation,) = request_violations(head)
    assert violation.saw == f"{KEY}, {KEY}"


# Responses


@pytest.mark.parametrize(
    ("head", "field", "saw", "wanted"),
    [
        pytest.param(response(Upgrade=None), "Upgrade", None, "websocket", id="no Upgrade"),
        pytest.param(response(Upgrade="h2c"), "Upgrade", "h2c", "websocket", id="Upgrade"),
        pytest.param(response(Connection=None), "Connection", None, "Upgrade", id="no Connection"),
        pytest.param(
            response(Connection="keep-alive"),
            "Connection",
            "keep-alive",
            "Upgrade",
            id="Connection",
        ),
        pytest.param(
            response(Sec_WebSocket_Accept=None),
            "Sec-WebSocket-Accept",
            None,
            ACCEPT,
            id="no accept",
        ),
        pytest.param(
            response(Sec_WebSocket_Accept=ACCEPT.lower()),
            "Sec-WebSocket-Accept",
            ACCEPT.lower(),
            ACCEPT,
            id="accept",
        ),
        pytest.param(
            response(Sec_WebSocket_Accept=f"{ACCEPT}, {ACCEPT}"),
            "Sec-WebSocket-Accept",
            f"{ACCEPT}, {ACCEPT}",
            ACCEPT,
            id="two accepts",
        ),
        pytest.param(
            response(Sec_WebSocket_Protocol="Chat"),
            "Sec-WebSocket-Protocol",
            "Chat",
            "one of chat, superchat",
            id="subprotocol",
        ),
        pytest.param(
            response(Sec_WebSocket_Protocol="chat, superchat"),
            "Sec-WebSocket-Protocol",
            "chat, superchat",
            "one of chat, superchat",
            id="two subprotocols",
        ),
        pytest.param(
            response(Sec_WebSocket_Protocol=""),
            "Sec-WebSocket-Protocol",
            "",
            "one of chat, superchat",
            id="empty subprotocol",
        ),
        pytest.param(
            response(Sec_WebSocket_Extensions="permessage-deflate, bbf-usp"),
            "Sec-WebSocket-Extensions",
            "bbf-usp",
            "one of permessage-deflate, x-other",
            id="extension",
        ),
    ],
)
def test_a_crooked_switch_has_one_violation_that_says_what_was_wanted(
    head: ResponseHead, field: str, saw: str | None, wanted: str
) -> None:
    assert response_violations(UPGRADE, head) == [Violation("4.1", field, saw, wanted)]


@pytest.mark.parametrize(
    "head",
    [
        response(Upgrade="WebSocket", Connection="upgrade"),
        response(Sec_WebSocket_Protocol=None, Sec_WebSocket_Extensions=None),
        response(Sec_WebSocket_Protocol="superchat"),
        response(Sec_WebSocket_Extensions="X-Other; a=b, permessage-deflate"),
        response(Server="a", Content_Type="text/plain"),
    ],
)
def test_a_switch_may_choose_among_what_was_offered(head: ResponseHead) -> None:
    assert response_violations(UPGRADE, head) == []


def test_two_subprotocol_lines_are_a_violation_though_each_was_offered() -> None:
    twice = parse_response_head(SWITCH.raw[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n")
    (violation,) = response_violations(UPGRADE, twice)
    assert violation.saw == "chat, chat"


def test_nothing_may_be_chosen_where_nothing_was_offered() -> None:
    bare = request(Sec_WebSocket_Protocol=None, Sec_WebSocket_Extensions=None)
    found = response_violations(bare, SWITCH)
    assert [violation.field for violation in found] == [
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
    ]
    assert {violation.wanted for violation in found} == {"none: none was offered"}


def test_an_accept_without_a_key_is_a_violation() -> None:
    (violation,) = response_violations(request(Sec_WebSocket_Key=None), SWITCH)
    assert (violation.saw, violation.wanted) == (ACCEPT, "none: no key was sent")


@pytest.mark.parametrize(
    ("field", "value"),
    [("Content-Length", "0"), ("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")],
)
def test_a_switch_that_announces_a_body_is_a_violation_of_http(field: str, value: str) -> None:
    head = with_response_fields(SWITCH, set_fields=[(field, value)])
    (violation,) = response_violations(UPGRADE, head)
    assert violation.section.startswith("RFC 9110")
    assert (violation.field, violation.saw) == (field, value)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 426, 503])
def test_a_refusal_of_version_13_owes_nothing(status: int) -> None:
    assert response_violations(UPGRADE, answer(status)) == []
    assert response_violations(request(Sec_WebSocket_Version=None), answer(status)) == []


def test_an_unknown_version_is_owed_the_versions_that_are_known() -> None:
    old = request(Sec_WebSocket_Version="8")
    assert response_violations(old, answer(426, "sec-websocket-version: 13, 7")) == []
    (violation,) = response_violations(old, answer(400))
    assert (violation.section, violation.field) == ("4.4", "Sec-WebSocket-Version")
    assert violation.saw == "400 without Sec-WebSocket-Version"


# What is written down


def test_a_token_among_the_subprotocols_is_not_quoted() -> None:
    offer = request(Sec_WebSocket_Protocol=f"realtime, {TOKEN}")
    found = [
        *response_violations(offer, response(Sec_WebSocket_Protocol="mqtt")),
        *response_violations(UPGRADE, response(Sec_WebSocket_Protocol=TOKEN)),
    ]
    assert [violation.wanted for violation in found] == [
        "one of realtime, [hidden]",
        "one of chat, superchat",
    ]
    assert TOKEN not in str(found)


def test_a_violation_is_told_with_a_bounded_quote() -> None:
    long = Violation("4.1", "Upgrade", "x" * 1000, "websocket")
    assert long.line() == {
        "section": "4.1",
        "field": "Upgrade",
        "saw": "x" * SAW_LIMIT,
        "wanted": "websocket",
    }
    assert Violation("4.1", "Upgrade", None, "websocket").line()["saw"] is None
