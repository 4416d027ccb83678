"""What of a simulated call's report becomes an alert."""

from doctor.caller.outcome import CallReport, Webhook
from doctor.caller.stream import StreamReport
from doctor.errors import Objection
from doctor.rest_api.alerts import Sent
from doctor.rest_api.answering import failures
from doctor.rest_api.placed_call import Failure

URL = "https://voice.example.com/voice/webhook"


def report() -> CallReport:
    return CallReport("CA" + "2" * 32, is_signed=True)


def test_a_call_that_went_well_has_no_alert() -> None:
    assert failures(report()) == []


def test_a_webhook_that_failed_is_shown_with_its_status() -> None:
    failed = report()
    failed.webhook = Webhook(URL, 404, 12.0)
    failed.fail(11200, "404 Not Found: <html>")
    sent = Sent("GET", URL, response_status=404, response_body="404 Not Found: <html>")
    assert failures(failed, "GET") == [Failure(11200, "404 Not Found: <html>", "error", sent)]


def test_a_stream_that_failed_is_shown_in_the_webhooks_place() -> None:
    failed = report()
    failed.webhook = Webhook(URL, 200, 12.0)
    stream = StreamReport("wss://voice.example.com/voice/stream", "MZ", True)
    stream.status, stream.error_code, stream.saw = 404, 31920, "404 Not Found"
    stream.answer_fields = (("server", "nginx"),)
    failed.streams.append(stream)
    failed.fail(31920, "404 Not Found")
    (failure,) = failures(failed)
    assert failure.sent == Sent(
        "GET",
        "wss://voice.example.com/voice/stream",
        response_status=404,
        response_headers="server=nginx",
        response_body="404 Not Found",
    )


def test_warnings_are_kept_and_remarks_of_our_own_are_not() -> None:
    warned = report()
    warned.warn(Objection(31951, "an unknown event"), Objection(None, "said nothing"))
    assert failures(warned) == [Failure(31951, "an unknown event", "warning")]
