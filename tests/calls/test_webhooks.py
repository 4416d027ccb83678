"""What calls are told to do: a stream that can be served, a text, or a word about why not."""

import asyncio
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from gateway.calls import Plan, StreamRefusal
from webhook_gateway import (
    ALICE,
    INBOUND,
    OTHER_SID,
    OURS,
    PUBLIC,
    SID,
    STATUS,
    STREAM_STATUS,
    WEBHOOK,
    Gateway,
    Reply,
    running,
)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running() as gateway:
        yield gateway


# Inbound calls


def test_an_inbound_call_is_promised_a_stream_that_can_be_opened(gateway: Gateway) -> None:
    reply = gateway.post()
    assert reply.verbs == ["Connect", "Redirect"]
    url, token = reply.stream
    assert url == "wss://voice.example.com/voice/stream"
    assert token not in url
    root = ElementTree.fromstring(reply.text)  # noqa: S314
    assert root.findtext("Redirect") == f"{PUBLIC}{WEBHOOK}?after=stream"
    status = root.find("Connect/Stream")
    assert status is not None
    assert status.get("statusCallback") == PUBLIC + STREAM_STATUS
    assert gateway.warmed == 1
    assert [fields["call_sid"] for fields in gateway.of("call_started")] == [SID]
    assert gateway.open_stream(reply).plan == gateway.settings.inbound_plan


def test_a_second_call_works_as_the_first_did(gateway: Gateway) -> None:
    tokens = set()
    for number, sid in enumerate((SID, OTHER_SID, SID)):
        reply = gateway.post(WEBHOOK, sid)
        tokens.add(reply.stream[1])
        gateway.open_stream(reply, sid)
        gateway.end("done", sid)
        assert gateway.post(f"{WEBHOOK}?after=stream", sid).verbs == ["Hangup"]
        assert gateway.warmed == number + 1
    assert len(tokens) == 3
    assert gateway.calls.places_taken == 0
    assert gateway.value("hopscope_calls_active") == 0


def test_two_calls_at_once_have_their_own_streams(gateway: Gateway) -> None:
    first, second = gateway.post(WEBHOOK, SID), gateway.post(WEBHOOK, OTHER_SID)
    refused = gateway.calls.open_stream(SID, second.stream[1], gateway.webhooks._clock())
    assert refused == StreamRefusal("wrong_token")
    assert gateway.open_stream(second, OTHER_SID) is not gateway.open_stream(first)


def test_a_retried_webhook_gives_the_same_answer_and_happens_once(gateway: Gateway) -> None:
    first = gateway.post(retry="a-token")
    again = gateway.post(retry="a-token")
    assert again.text == first.text
    assert gateway.warmed == 1
    assert len(gateway.of("call_started")) == 1
    gateway.open_stream(first)
    gateway.end("caller_hung_up")
    assert gateway.post(retry="a-token").text == first.text
    assert gateway.calls.places_taken == 0
    other = gateway.post(WEBHOOK, OTHER_SID, retry="a-token")
    assert other.stream[1] != first.stream[1]


def test_a_retry_that_overtakes_its_first_try_is_no_second_call(gateway: Gateway) -> None:
    body, headers = gateway.signed(WEBHOOK, {"CallSid": SID, **INBOUND})
    headers["I-Twilio-Idempotency-Token"] = "a-token"

    async def both() -> list[Reply]:
        asks = [gateway.aask("POST", WEBHOOK, headers, body) for _ in range(4)]
        return list(await asyncio.gather(*asks))

    assert len({reply.text for reply in gateway.run(both())}) == 1
    assert (gateway.warmed, len(gateway.of("call_started"))) == (1, 1)


def test_a_retry_without_its_token_gets_the_same_unused_stream(gateway: Gateway) -> None:
    assert gateway.post().stream == gateway.post().stream
    assert len(gateway.of("call_started")) == 1


def test_who_may_not_call_is_refused_before_it_costs() -> None:
    with running(inbound={"policy": "allow_list", "allow": (ALICE,)}) as gateway:
        refused = gateway.post(WEBHOOK, OTHER_SID, **{**INBOUND, "From": OURS})
        assert refused.verbs == ["Reject"]
        assert 'reason="rejected"' in refused.text
        assert gateway.of("call_refused")[0]["reason"] == "not_allowed"
        assert gateway.post().verbs == ["Connect", "Redirect"]
    with running(inbound={"policy": "off"}) as gateway:
        assert gateway.post().verbs == ["Reject"]
        assert gateway.warmed == 0


def test_more_calls_than_places_hear_the_busy_tone() -> None:
    with running(limits={"calls": 1}) as gateway:
        gateway.post()
        busy = gateway.post(WEBHOOK, OTHER_SID)
        assert busy.verbs == ["Reject"]
        assert 'reason="busy"' in busy.text
        assert gateway.value("hopscope_calls_refused_total", reason="all_lines_busy") == 1
        gateway.post(STATUS, SID, CallStatus="completed")
        assert gateway.post(WEBHOOK, OTHER_SID).verbs == ["Connect", "Redirect"]


def test_one_caller_who_calls_too_often_hears_the_busy_tone() -> None:
    with running(limits={"calls_per_caller_per_minute": 1}) as gateway:
        gateway.post()
        assert 'reason="busy"' in gateway.post(WEBHOOK, OTHER_SID).text


def test_a_call_that_was_already_answered_cannot_be_rejected_and_is_told() -> None:
    with running(inbound={"policy": "off"}) as closed:
        assert "call again later" in closed.post(**{**INBOUND, "CallStatus": "in-progress"}).says


def test_a_call_that_nothing_more_was_heard_of_does_not_keep_the_line_busy() -> None:
    with running(limits={"calls": 1}) as gateway:
        gateway.post()
        now = gateway.webhooks._clock()
        gateway.webhooks._clock = lambda: now + 61
        assert gateway.post(WEBHOOK, OTHER_SID).verbs == ["Connect", "Redirect"]
        assert [fields["ending"] for fields in gateway.of("call_ended")] == ["stream_never_came"]


# Notify


def test_an_inbound_call_can_be_told_something_by_twilios_voice() -> None:
    with running(mode="notify", notify={"text": "Closed & gone.", "via": "say"}) as gateway:
        assert gateway.post().says == "Closed & gone."
        assert gateway.warmed == 0
        assert gateway.of("call_ended")[0]["ending"] == "said"
        assert gateway.calls.places_taken == 0


def test_or_by_ours() -> None:
    with running(mode="notify", notify={"text": "Closed."}) as gateway:
        call = gateway.open_stream(gateway.post())
        assert call.plan == Plan("notify", "Closed.")


def test_a_text_is_said_by_twilio_where_our_voice_cannot_be_served() -> None:
    with running(mode="notify", notify={"text": "Closed."}) as gateway:
        gateway.because = "We are restarting."
        assert gateway.post().says == "Closed."


@pytest.mark.parametrize("ending", ["provider_failed", "stream_failed", "drained"])
def test_a_text_that_our_voice_did_not_finish_is_said_by_twilio(ending: str) -> None:
    with running(mode="notify", notify={"text": "Closed."}) as gateway:
        gateway.open_stream(gateway.post())
        gateway.end(ending)
        assert gateway.post(f"{WEBHOOK}?after=stream").says == "Closed."


# A stream is promised only when it can be served, and a failure is heard


def test_without_a_servable_stream_the_caller_hears_why(gateway: Gateway) -> None:
    gateway.because = "We are restarting. Please call again in a minute."
    assert gateway.post().says == "We are restarting. Please call again in a minute."
    assert gateway.warmed == 0
    assert gateway.calls.places_taken == 0
    refused = gateway.of("call_refused")[0]
    assert (refused["reason"], refused["detail"]) == ("unservable", gateway.because)
    gateway.because = None
    assert gateway.post().verbs == ["Connect", "Redirect"]


def test_whatever_breaks_inside_the_caller_hears_a_sentence(gateway: Gateway) -> None:
    gateway.warm_fails = True
    assert "something went wrong" in gateway.post(retry="a-token").says
    failed = gateway.of("webhook_failed")[0]
    assert (failed["path"], failed["error"]) == ("webhook", "OSError")
    assert gateway.of("call_ended")[0]["ending"] == "failed"
    assert gateway.calls.places_taken == 0
    assert gateway.value("hopscope_calls_active") == 0
    gateway.warm_fails = False
    assert gateway.post(retry="a-token").verbs == ["Connect", "Redirect"]


def test_what_breaks_in_a_callback_is_no_500_either(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.calls, "status_changed", None)
    assert gateway.post(STATUS, SID, CallStatus="completed").status == 503
    assert gateway.of("webhook_failed")[0]["path"] == "status"


@pytest.mark.parametrize(
    ("ending", "verbs"),
    [
        ("done", ["Hangup"]),
        ("caller_hung_up", ["Hangup"]),
        ("time_limit", ["Hangup"]),
        ("provider_failed", ["Say", "Hangup"]),
        ("stream_failed", ["Say", "Hangup"]),
        ("drained", ["Say", "Hangup"]),
    ],
)
def test_after_its_stream_a_call_ends_with_a_word_if_it_needs_one(
    gateway: Gateway, ending: str, verbs: list[str]
) -> None:
    gateway.open_stream(gateway.post())
    gateway.end(ending)
    assert gateway.post(f"{WEBHOOK}?after=stream").verbs == verbs


def test_a_stream_that_never_came_is_apologised_for_and_frees_its_place(gateway: Gateway) -> None:
    reply = gateway.post()
    assert "connection was lost" in gateway.post(f"{WEBHOOK}?after=stream").says
    assert gateway.of("call_ended")[0]["ending"] == "stream_never_came"
    assert gateway.calls.places_taken == 0
    late = gateway.calls.open_stream(SID, reply.stream[1], gateway.webhooks._clock())
    assert late == StreamRefusal("call_ended")


def test_a_stream_that_ended_at_twilio_alone_is_apologised_for(gateway: Gateway) -> None:
    call = gateway.open_stream(gateway.post())
    assert "connection was lost" in gateway.post(f"{WEBHOOK}?after=stream").says
    assert call.stream_error == "ended at Twilio"
    gateway.end("caller_hung_up")  # its stream notices, and tells its own ending
    assert not call.went_well


def test_a_stream_from_before_a_restart_is_apologised_for(gateway: Gateway) -> None:
    assert "connection was lost" in gateway.post(f"{WEBHOOK}?after=stream").says
    assert gateway.of("call_started") == []


def test_a_stream_error_is_told_and_then_apologised_for(gateway: Gateway) -> None:
    gateway.open_stream(gateway.post())
    reply = gateway.post(
        STREAM_STATUS,
        SID,
        StreamSid="MZ1",
        StreamEvent="stream-error",
        StreamError="31924 - protocol error",
    )
    assert (reply.status, reply.text) == (204, "")
    assert gateway.of("stream_status") == [
        {
            "call_sid": SID,
            "stream_sid": "MZ1",
            "status": "stream-error",
            "error": "31924 - protocol error",
        }
    ]
    gateway.end("caller_hung_up")
    assert "connection was lost" in gateway.post(f"{WEBHOOK}?after=stream").says


def test_a_stream_error_without_a_reason_is_one_all_the_same(gateway: Gateway) -> None:
    call = gateway.open_stream(gateway.post())
    gateway.post(STREAM_STATUS, SID, StreamEvent="stream-error")
    assert call.stream_error == "unknown"


def test_an_error_about_a_stream_that_we_closed_well_changes_nothing(gateway: Gateway) -> None:
    gateway.open_stream(gateway.post())
    gateway.end("done")
    gateway.post(STREAM_STATUS, SID, StreamEvent="stream-error", StreamError="31921")
    assert gateway.post(f"{WEBHOOK}?after=stream").verbs == ["Hangup"]


def test_a_stream_that_started_is_told(gateway: Gateway) -> None:
    gateway.open_stream(gateway.post())
    gateway.post(STREAM_STATUS, SID, StreamSid="MZ1", StreamEvent="stream-started")
    assert gateway.of("stream_status")[0]["error"] is None
    gateway.end("done")
    assert gateway.post(f"{WEBHOOK}?after=stream").verbs == ["Hangup"]
