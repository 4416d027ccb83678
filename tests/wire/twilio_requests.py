"""What Twilio asks for a call, and a gateway that answers it, on raw sockets."""

from typing import Any

from peers import RawSocket, RawUpstream, RunningSidecar

CALL_SID = "CA" + "1" * 32
URL = "wss://voice.example.com/voice/stream"


def twiml(url: str = URL, before: str = "") -> bytes:
    return f"<Response>{before}<Connect><Stream url='{url}'/></Connect></Response>".encode()


def form_post(path: str, form: str = f"CallSid={CALL_SID}&CallStatus=ringing") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: voice.example.com\r\nUser-Agent: TwilioProxy/1.1\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
        f"Content-Length: {len(form)}\r\n\r\n{form}"
    ).encode()


def ask(sidecar: RunningSidecar, upstream: RawUpstream, request: bytes) -> tuple[Any, RawSocket]:
    """Send a request; the client, and the gateway's end that is to answer it."""
    client = sidecar.connect()
    client.send(request)
    server = upstream.accept()
    server.receive_head()
    return client, server


def fetch_twiml(
    sidecar: RunningSidecar,
    upstream: RawUpstream,
    document: bytes,
    *,
    request: bytes | None = None,
    status: str = "200 OK",
    fields: str = "Content-Type: text/xml",
) -> None:
    """Twilio asks the gateway for a document and gets it."""
    client, server = ask(sidecar, upstream, request or form_post("/voice/webhook"))
    head = f"HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: {len(document)}\r\n\r\n"
    server.send(head.encode() + document)
    client.receive_head()
    assert client.receive(len(document)) == document
    sidecar.call(lambda: None)  # the answer is out before it has been read; now it has
    client.close()
