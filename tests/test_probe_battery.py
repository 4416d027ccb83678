"""What the times of frames say, and the messages that are sent."""

import json

import pytest

from doctor.probing.battery import BEAT_S, judge_burst, messages
from doctor.probing.dial import address_class, is_name
from doctor.probing.endurance import MEDIA_BYTES, media_message

SENT = [index * BEAT_S for index in range(10)]


@pytest.mark.parametrize("delay", [0.0, 0.2, 2.0])
def test_a_long_way_alone_holds_nothing(delay: float) -> None:
    assert judge_burst(SENT, [at + delay for at in SENT]) == ("", "")


def test_frames_that_come_together_were_held() -> None:
    fault, saw = judge_burst(SENT, [0.25 + index * 0.001 for index in range(10)])
    assert (fault, saw) == ("held", "sent over 180 ms, they came within 9 ms")


def test_one_late_frame_was_held_and_a_little_jitter_is_none() -> None:
    back = list(SENT)
    back[9] += 0.4
    assert judge_burst(SENT, back)[0] == "held"
    back[9] = SENT[9] + 0.25
    assert judge_burst(SENT, back) == ("", "")


def test_messages_go_from_small_to_large_and_lie_on_both_sides_of_each_length_field() -> None:
    sizes = [len(message.payload) for message in messages()]
    assert sizes == [1, 1024, sizes[2], 1 << 16, 1 << 20]
    assert [len(message.fragments) for message in messages()] == [1, 1, 3, 1, 1]
    messages()[2].payload.decode()


def test_media_is_twilios_message_of_20_ms() -> None:
    told = json.loads(media_message(49))
    assert (told["event"], told["sequenceNumber"], told["media"]["chunk"]) == ("media", "51", "50")
    assert told["media"]["timestamp"] == "980"
    assert len(told["media"]["payload"]) == -(-MEDIA_BYTES // 3) * 4
    assert told["streamSid"].startswith("MZ")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("fe80::1%eth0", "private"),
        ("100.64.0.1", "tailnet"),
        ("100.127.255.254", "tailnet"),
        ("fd7a:115c:a1e0::53", "tailnet"),
        ("fd00::1", "private"),
        ("100.128.0.1", "public"),
        ("8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
    ],
)
def test_an_address_tells_where_it_is(address: str, told: str) -> None:
    assert address_class(address) == told


def test_a_name_is_what_the_public_may_know() -> None:
    assert is_name("voice.example.com")
    assert not any(is_name(host) for host in ("localhost", "127.0.0.1", "::1"))
