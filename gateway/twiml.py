"""The TwiML documents that the gateway answers with (pure)."""

import re
from typing import Literal
from urllib.parse import urlsplit

from twilio.twiml import TwiML
from twilio.twiml.voice_response import Connect, VoiceResponse

from gateway.addresses import is_loopback

INLINE_LIMIT = 4000  # of the Twiml parameter of the REST API (error 32018)
PARAMETER_LIMIT = 500  # name and value of a <Parameter> must be shorter together
SAY_LIMIT = 4096  # of one <Say>
# What XML 1.0 cannot say at all (section 2.2). Twilio's library would write it down.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

APOLOGY = "I am sorry, something went wrong and we cannot talk right now. Please call again later."
GONE = "I am sorry, our connection was lost. Please call again."


def check_text(text: str) -> str:
    """A text that can be spoken. Raises ValueError."""
    if not text.strip():
        raise ValueError("should be a text to say")
    if len(text) > SAY_LIMIT:
        raise ValueError(f"should be at most {SAY_LIMIT} characters to say, not {len(text)}")
    if _NOT_XML.search(text):
        raise ValueError("holds control characters, which TwiML cannot carry")
    return text


def check_inline(document: str) -> str:
    """A document that may go along with the REST request. Raises ValueError."""
    if len(document) > INLINE_LIMIT:
        raise ValueError(
            f"should be at most {INLINE_LIMIT} characters of TwiML, not {len(document)}; "
            "let Twilio fetch it from a URL instead"
        )
    return document


def stream(stream_url: str, status_url: str, after_url: str, token: str) -> str:
    """Connect the call to our stream, both ways; when that ends, ask what happened.

    For conversations, and for notify calls in our own voice. Raises ValueError for what Twilio
    would refuse: a stream that is not wss (error 31922), or one with a query, which it drops
    (error 31920). ws is allowed on loopback, where the simulated caller follows it.
    """
    _check_stream_url(stream_url)
    if not token or len("token" + token) >= PARAMETER_LIMIT or _NOT_XML.search(token):
        raise ValueError(f"the stream's token has {len(token)} characters")
    connect = Connect()
    promised = connect.stream(
        url=stream_url, status_callback=status_url, status_callback_method="POST"
    )
    promised.parameter(name="token", value=token)
    response = VoiceResponse()
    response.append(connect)
    response.redirect(after_url, method="POST")
    return _text(response)


def say(text: str) -> str:
    """Let Twilio's own voice say a text, then hang up. Raises ValueError."""
    response = VoiceResponse()
    response.say(check_text(text))
    response.hangup()
    return _text(response)


def apology(text: str = APOLOGY) -> str:
    """What a caller hears in place of Twilio's "application error"."""
    return say(text)


def after_stream(went_well: bool) -> str:
    """What follows the stream: the end, or a word about why it came too soon."""
    return hangup() if went_well else apology(GONE)


def refusal(reason: Literal["busy", "rejected"]) -> str:
    """Do not take an inbound call; unlike <Hangup>, that costs nothing."""
    response = VoiceResponse()
    response.reject(reason=reason)
    return _text(response)


def hangup() -> str:
    response = VoiceResponse()
    response.hangup()
    return _text(response)


def _check_stream_url(url: str) -> None:
    parts = urlsplit(url)
    is_local = parts.scheme == "ws" and is_loopback(parts.hostname or "")
    if not parts.hostname or (parts.scheme != "wss" and not is_local):
        raise ValueError(f"{url}: a stream's URL should begin with wss:// (Twilio's error 31922)")
    if "?" in url or "#" in url:
        raise ValueError(f"{url}: a stream's URL has no query; Twilio drops it (error 31920)")
    if "//" in parts.path or not parts.path.strip("/"):
        raise ValueError(f"{url}: a stream's URL should have a plain path")


def _text(document: TwiML) -> str:
    return str(document.to_xml())
