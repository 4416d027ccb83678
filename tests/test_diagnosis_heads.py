"""Two heads side by side."""

from hypothesis import given
from hypothesis import strategies as st

from doctor.diagnosis.heads import Line, compare, differences
from doctor.evidence import Pairs

SENT: Pairs = (
    ("Host", "voice.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("X-Twilio-Signature", None),
)


def test_what_a_hop_removed_changed_respelled_and_added() -> None:
    arrived: Pairs = (
        ("host", "voice.example.com"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Twilio-Signature", None),
        ("Connection", "close"),
    )
    assert compare(SENT, arrived) == (
        Line("Host: voice.example.com", "host: voice.example.com", "respelled"),
        Line("Upgrade: websocket", "", "removed"),
        Line("Connection: Upgrade", "Connection: close", "changed"),
        Line("X-Twilio-Signature: (present)", "X-Twilio-Signature: (present)", "same"),
        Line("", "X-Forwarded-For: 192.0.2.1", "added"),
    )
    assert [line.change for line in differences(compare(SENT, arrived))] == [
        "removed",
        "changed",
        "added",
    ]


def test_a_name_that_came_twice_is_paired_in_order() -> None:
    twice: Pairs = (("Via", "a"), ("Via", "b"))
    assert {line.change for line in compare(twice, twice)} == {"same"}
    assert [line.change for line in compare(twice, (("Via", "a"),))] == ["same", "removed"]


def test_order_alone_is_no_difference() -> None:
    assert not differences(compare(SENT, tuple(reversed(SENT))))


def test_a_hidden_value_is_not_called_changed() -> None:
    [line] = compare((("Cookie", "a"),), (("Cookie", None),))
    assert line.change == "same"


FIELDS = st.lists(
    st.tuples(st.sampled_from(["A", "a", "B", "C"]), st.none() | st.text(max_size=3)), max_size=6
).map(tuple)


@given(FIELDS, FIELDS)
def test_every_field_of_both_sides_is_there_once(left: Pairs, right: Pairs) -> None:
    lines = compare(left, right)
    assert sum(bool(line.left) for line in lines) == len(left)
    assert sum(bool(line.right) for line in lines) == len(right)
