"""Which Twilio streams are read, as the settings say and as a reload changes it."""

from functools import partial

from peers import RawSocket, RawUpstream, RunningSidecar, StartSidecar
from proxy.settings import MediaSettings


def _stream(sidecar: RunningSidecar, upstream: RawUpstream, call_sid: str) -> dict[str, object]:
    """One short Twilio stream; the media fields of its line."""
    client, server = sidecar.upgrade(upstream)
    _say(client, b'{"event":"connected"}')
    _say(
        client,
        b'{"event":"start","sequenceNumber":"1","start":{"callSid":"%s"}}' % call_sid.encode(),
    )
    _say(client, b'{"event":"media","sequenceNumber":"2","media":{"timestamp":"0"}}')
    client.close()
    server.close()
    line = sidecar.event("session", call_sid=call_sid)
    return {name: line[name] for name in ("media_read", "media_frames", "sequence_gaps")}


def _say(client: RawSocket, message: bytes) -> None:
    client.send(bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message)


def test_one_stream_of_so_many_is_read_until_a_reload_says_otherwise(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(media=MediaSettings(read="sampled", sample_every=2))
    seen = {"media_frames": {"client": 1, "server": 0}, "sequence_gaps": 0}
    unseen = dict.fromkeys(seen)
    assert _stream(sidecar, upstream, "CA1") == {"media_read": "sampled"} | seen
    assert _stream(sidecar, upstream, "CA2") == {"media_read": "skipped"} | unseen
    for media, told in ((MediaSettings(read="off"), unseen), (MediaSettings(), seen)):
        changed = sidecar.settings.model_copy(update={"media": media})
        sidecar.call(partial(sidecar.sidecar.reload, changed))
        line = _stream(sidecar, upstream, f"CA {media.read}")
        assert line == {"media_read": media.read} | told
