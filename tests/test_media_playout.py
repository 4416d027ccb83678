"""What a gateway's messages tell: audio that Twilio holds, when it runs dry, marks that wait."""

import base64
import json
from collections.abc import Callable

import pytest

from media_messages import (
    CLEAR,
    SPELLINGS,
    Message,
    audio,
    begun,
    client,
    dump,
    mark,
    server,
)
from proxy.media import MARKS_LIMIT, NAME_LIMIT


@pytest.fixture(params=SPELLINGS.values(), ids=list(SPELLINGS))
def spell(request: pytest.FixtureRequest) -> Callable[[Message], bytes]:
    return lambda message: str(request.param(message)).encode()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 159, 160, 161, 162, 4000])
def test_audio_is_measured_by_its_length(size: int, spell: Callable[[Message], bytes]) -> None:
    reader = begun()
    message = audio(base64.b64encode(b"\xff" * size).decode())
    reader.receive_from_server(spell(message), 5.0)
    assert reader.buffered_s(5.0) == pytest.approx(size / 8000, abs=1e-9)
    assert reader.media_frames["server"] == 1


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        pytest.param("/", r"\/", id="PHP's slash"),
        pytest.param("+", r"\u002B", id=".NET's plus"),
        pytest.param("=", r"\u003d", id="Gson's padding"),
    ],
)
def test_escapes_of_other_json_writers_are_not_audio(plain: str, escaped: str) -> None:
    reader = begun()
    payload = base64.b64encode(bytes(range(256)) + b"\xfb\xff" * 80)
    message = dump(audio(payload.decode())).replace(plain.encode(), escaped.encode())
    assert json.loads(message) == audio(payload.decode())
    reader.receive_from_server(message, 5.0)
    assert reader.buffered_s(5.0) == pytest.approx((256 + 160) / 8000, abs=1e-9)


def test_audio_sent_faster_than_it_plays_is_buffered() -> None:
    reader = begun()
    for _ in range(100):
        reader.receive_from_server(dump(audio()), 1.0)
    assert reader.buffered_s(1.0) == pytest.approx(2.0)
    assert reader.buffered_s(2.5) == pytest.approx(0.5)
    assert reader.buffered_s(9.0) == 0.0


@pytest.mark.parametrize(
    ("second_at", "underruns"),
    [
        pytest.param(10.01, 0, id="in time"),
        pytest.param(10.02, 0, id="just in time"),
        pytest.param(10.035, 0, id="within a frame"),
        pytest.param(10.06, 1, id="40 ms dry"),
        pytest.param(10.9, 1, id="almost a pause"),
        pytest.param(11.1, 0, id="a pause"),
        pytest.param(60.0, 0, id="a long pause"),
    ],
)
def test_audio_that_runs_dry_within_an_utterance_is_an_underrun(
    second_at: float, underruns: int
) -> None:
    assert server(begun(), (10.0, audio()), (second_at, audio())).underruns == underruns


def test_the_first_word_is_never_late() -> None:
    assert server(begun(), (0.5, audio())).underruns == 0


def test_every_hole_is_counted() -> None:
    reader = server(begun(), *((10.0 + step * 0.1, audio()) for step in range(11)))
    assert reader.underruns == 10


def test_a_buffer_that_lasts_over_a_late_message_does_not_run_dry() -> None:
    ahead = [(10.0, audio())] * 20
    assert server(begun(), *ahead, (10.39, audio()), (10.4, audio())).underruns == 0


@pytest.mark.parametrize("end", [mark("end of sentence"), CLEAR], ids=["mark", "clear"])
def test_what_follows_a_mark_or_a_clear_is_another_utterance(end: Message) -> None:
    script = [(10.0, audio()), (10.0, end), (10.3, audio())]
    assert server(begun(), *script).underruns == 0
    assert server(begun(), *script, (10.4, audio())).underruns == 1


def test_a_clear_empties_the_buffer_at_once() -> None:
    reader = server(begun(), *[(10.0, audio())] * 100, (10.5, CLEAR))
    assert reader.buffered_s(10.5) == 0.0
    server(reader, (10.6, audio()))
    assert reader.buffered_s(10.6) == pytest.approx(0.02)


def test_only_the_gateway_clears() -> None:
    reader = server(begun(), *[(10.0, audio())] * 100)
    reader.receive_from_client(dump(CLEAR), 10.5)
    assert reader.buffered_s(10.5) == pytest.approx(1.5)


def test_marks_are_unanswered_until_twilio_echoes_them_by_name() -> None:
    reader = server(begun(), (1.0, mark("a")), (1.0, mark("a")), (1.0, mark("b")))
    assert reader.marks_unanswered == 3
    for name, left in (("a", 2), ("never sent", 2), ("a", 1), ("a", 1), ("b", 0)):
        reader.receive_from_client(dump(client("mark", 2, name=name)), 2.0)
        assert reader.marks_unanswered == left
    assert reader.marks == {"sent": 3, "echoed": 3}  # an echo of what was never sent is none


def test_marks_that_wait_are_bounded_in_number_and_length() -> None:
    names = [f"{number} " + "x" * NAME_LIMIT for number in range(MARKS_LIMIT + 10)]
    reader = server(begun(), *((1.0, mark(name)) for name in names))
    assert reader.marks_unanswered == MARKS_LIMIT
    for name in names:
        reader.receive_from_client(dump(client("mark", 2, name=name)), 2.0)
    assert reader.marks_unanswered == 0


@pytest.mark.parametrize("name", [None, 7, ["a"], {}])
def test_a_mark_without_a_name_is_no_mark(name: object) -> None:
    message = mark("a") | {"mark": {"name": name}}
    assert server(begun(), (1.0, message)).marks_unanswered == 0
