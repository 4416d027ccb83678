"""Which code a failure raises, and what the codes mean."""

from typing import get_args

import pytest

from doctor.errors import Fault, ending_code, status_code, stream_code, webhook_code
from doctor.meanings import MEANINGS, meaning

FAULTS: tuple[Fault, ...] = get_args(Fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_a_code_in_each_phase_and_the_code_a_meaning(fault: Fault) -> None:
    for code in (webhook_code(fault), stream_code(fault)):
        assert not MEANINGS[code].is_warning
    assert 11200 <= webhook_code(fault) < 12000
    assert 31900 <= stream_code(fault) < 32000


@pytest.mark.parametrize(
    ("fault", "webhook", "stream"),
    [
        ("unresolved", 11210, 31904),
        ("refused", 11202, 31902),
        ("connect_timeout", 11201, 31901),
        ("silent", 11203, 31901),
        ("certificate_name", 11235, 31910),
        ("certificate_expired", 11236, 31910),
        ("certificate_untrusted", 11237, 31910),
        ("tls", 11220, 31910),
        ("reset", 11205, 31903),
        ("not_http", 11206, 31920),
    ],
)
def test_the_phase_that_failed_decides_the_code(fault: Fault, webhook: int, stream: int) -> None:
    assert (webhook_code(fault), stream_code(fault)) == (webhook, stream)


@pytest.mark.parametrize(
    ("status", "code"), [(200, None), (204, None), (403, 11200), (404, 11200), (502, 11200)]
)
def test_an_error_status_of_a_webhook_is_11200(status: int, code: int | None) -> None:
    assert status_code(status) == code


@pytest.mark.parametrize(
    ("close_code", "has_spoken", "code"),
    [
        pytest.param(1000, True, None, id="a conversation that ended"),
        pytest.param(1005, True, None, id="closed without a code"),
        pytest.param(1000, False, 31921, id="closed before a word was said"),
        pytest.param(1008, True, 31921, id="policy violation"),
        pytest.param(1011, True, 31921, id="internal error"),
        pytest.param(1001, True, 31921, id="going away"),
        pytest.param(None, True, 31903, id="no Close at all"),
    ],
)
def test_how_a_stream_ended_decides_the_code(
    close_code: int | None, has_spoken: bool, code: int | None
) -> None:
    assert ending_code(close_code, has_spoken=has_spoken) == code


def test_every_entry_of_the_table_is_whole() -> None:
    for code, entry in MEANINGS.items():
        assert entry.code == code
        assert entry.name
        assert not entry.name.startswith("W ")
        assert entry.cause
        assert entry.look_at
        assert not entry.look_at.endswith((".", "\\"))


def test_warnings_are_told_from_errors() -> None:
    warnings = {code for code, entry in MEANINGS.items() if entry.is_warning}
    assert warnings == {12200, 13805, 15003, 21262, 31930, 31931, 31950, 31951}


def test_a_code_that_is_not_listed_is_told_as_such() -> None:
    assert meaning(64101).look_at == "www.twilio.com/docs/api/errors/64101"
    assert meaning(31920).name == "Stream - WebSocket - Handshake Error"
