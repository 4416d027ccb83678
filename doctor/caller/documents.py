"""A webhook's answer, read as Twilio reads it: TwiML into verbs, or the code of its refusal.

TwiML has no document type and no entities of its own, and they are how XML parsers are attacked, so
a document that declares one is refused. Nesting and size are bounded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from doctor.caller import verbs
from doctor.caller.verbs import ATTRIBUTES, NOT_SIMULATED, TRACKS, Prompt, Verb
from doctor.errors import Objection

DOCUMENT_LIMIT = 64 * 1024
DEPTH_LIMIT = 16
PARAMETER_LIMIT = 500  # characters of a name and its value together
TIMEOUT_LIMIT_S = 600.0
_XML_TYPES = ("text/xml", "application/xml")


class Refused(Exception):  # noqa: N818 - a verdict on an answer, not an error of ours
    """An answer that Twilio cannot use: the code that it raises, and what was seen."""

    def __init__(self, code: int, saw: str) -> None:
        super().__init__(saw)
        self.code = code
        self.saw = saw


@dataclass(frozen=True, slots=True)
class Document:
    verbs: tuple[Verb, ...]
    objections: tuple[Objection, ...] = ()


@dataclass(slots=True)
class _Element:
    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list["_Element"] = field(default_factory=list)


def read_answer(content_type: str | None, body: bytes) -> Document:
    """What a 200 of a webhook says. Raises Refused.

    Twilio's guide of 2008 to 2020 also took text/html and text/plain. Its support pages of 2026
    name both as causes of 12300.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind.startswith("audio/") and body:
        return Document((verbs.Play(audio=body, content_type=kind),))
    if len(body) > DOCUMENT_LIMIT:
        raise Refused(11750, f"the answer has {len(body)} bytes, and 64 kB are allowed")
    if not body.strip():
        raise Refused(11770, "the answer has no body")
    if not kind:
        raise Refused(11200, "the answer has no Content-Type")
    if kind not in _XML_TYPES:
        raise Refused(12300, f"Content-Type is {kind}, not text/xml")
    return read_document(body)


def read_document(body: bytes) -> Document:
    """Read TwiML. Raises Refused."""
    root = _parse(body)
    if root.name != "Response":
        raise Refused(12102, f"the root element is <{root.name[:40]}>, not <Response>")
    return _Reader().read(root)


def _parse(body: bytes) -> _Element:
    root: list[_Element] = []
    open_elements: list[_Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        element = _Element(name, attributes)
        if len(open_elements) >= DEPTH_LIMIT:
            raise Refused(12100, f"elements are nested more than {DEPTH_LIMIT} deep")
        (open_elements[-1].children if open_elements else root).append(element)
        open_elements.append(element)

    def end(_name: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        open_elements[-1].text += data

    def refuse(*_: object) -> None:
        raise Refused(12100, "the document declares a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset}"
        raise Refused(12100, f"{expat.ErrorString(error.code)} at {where}") from None
    except (ValueError, LookupError) as error:
        raise Refused(12100, f"the document cannot be decoded: {error}") from None
    return root[0]


class _Reader:
    """One document. Objections are gathered while its verbs are read."""

    def __init__(self) -> None:
        self._objections: list[Objection] = []
        self._verbs: dict[str, Callable[[_Element], Verb | None]] = {
            "Say": self._say,
            "Play": self._play,
            "Pause": self._pause,
            "Gather": self._gather,
            "Redirect": self._redirect,
            "Hangup": lambda _: verbs.Hangup(),
            "Reject": lambda element: verbs.Reject(element.attributes.get("reason", "rejected")),
            "Connect": self._connect,
            "Start": self._start,
            "Stop": self._stop,
            "Leave": lambda _: verbs.Leave(),
        }

    def read(self, root: _Element) -> Document:
        self._check(root)
        found: list[Verb] = []
        for element in root.children:
            if element.name in NOT_SIMULATED:
                found.append(self._not_simulated(element))
            elif element.name in self._verbs:
                self._check(element)
                verb = self._verbs[element.name](element)
                if verb is not None:
                    found.append(verb)
            else:
                self._object(f"<{element.name[:40]}> is no verb of TwiML")
        if root.text.strip():
            self._object("text stands between the verbs")
        return Document(tuple(found), tuple(self._objections))

    def _object(self, saw: str, code: int | None = 12200) -> None:
        self._objections.append(Objection(code, saw))

    def _check(self, element: _Element) -> None:
        for name in element.attributes.keys() - ATTRIBUTES[element.name]:
            self._object(f"<{element.name}> has no attribute {name[:40]!r}")

    def _children(self, element: _Element, *names: str) -> Iterator[_Element]:
        for child in element.children:
            if child.name in names:
                self._check(child)
                yield child
            else:
                self._object(f"<{child.name[:40]}> does not belong into <{element.name}>")

    def _say(self, element: _Element) -> verbs.Say:
        # Its children (SSML) are markup of the same text.
        text = " ".join(_all_text(element).split())
        return verbs.Say(text, self._loop(element))

    def _play(self, element: _Element) -> verbs.Play:
        digits = element.attributes.get("digits", "")
        return verbs.Play(element.text.strip(), self._loop(element), digits)

    def _pause(self, element: _Element) -> verbs.Pause:
        return verbs.Pause(self._seconds(element, "length", 1.0))

    def _gather(self, element: _Element) -> verbs.Gather:
        attributes = element.attributes
        reader: dict[str, Callable[[_Element], Prompt]] = {
            "Say": self._say,
            "Play": self._play,
            "Pause": self._pause,
        }
        prompts = tuple(reader[child.name](child) for child in self._children(element, *reader))
        digits = attributes.get("numDigits", "")
        return verbs.Gather(
            prompts,
            attributes.get("action"),
            self._method(element),
            self._seconds(element, "timeout", 5.0),
            int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None,
            attributes.get("finishOnKey", "#"),
            "dtmf" in attributes.get("input", "dtmf"),
            attributes.get("actionOnEmptyResult") == "true",
        )

    def _redirect(self, element: _Element) -> verbs.Redirect:
        return verbs.Redirect(element.text.strip(), self._method(element))

    def _connect(self, element: _Element) -> Verb | None:
        stream = self._stream(element)
        if stream is None:
            return None
        action = element.attributes.get("action")
        return verbs.Connect(stream, action, self._method(element))

    def _start(self, element: _Element) -> Verb | None:
        stream = self._stream(element)
        return None if stream is None else verbs.Start(stream)

    def _stop(self, element: _Element) -> Verb | None:
        for child in self._children(element, "Stream"):
            return verbs.Stop(child.attributes.get("name"))
        return None

    def _not_simulated(self, element: _Element) -> verbs.NotSimulated:
        action, method = element.attributes.get("action"), self._method(element)
        return verbs.NotSimulated(element.name, NOT_SIMULATED[element.name], action, method)

    def _stream(self, element: _Element) -> verbs.Stream | None:
        for child in self._children(element, "Stream"):
            attributes = child.attributes
            asked = attributes.get("track", "inbound_track")
            track = next((known for known in TRACKS if known == asked), None)
            if track is None:
                self._object(f"track {asked[:40]!r} is none of {', '.join(TRACKS)}")
            return verbs.Stream(
                attributes.get("url", ""),
                attributes.get("name"),
                track or "inbound_track",
                attributes.get("statusCallback"),
                self._method(child, "statusCallbackMethod"),
                self._parameters(child),
            )
        self._object(f"<{element.name}> holds no <Stream>, and nothing else is simulated", None)
        return None

    def _parameters(self, stream: _Element) -> dict[str, str]:
        parameters: dict[str, str] = {}
        for child in self._children(stream, "Parameter"):
            name, value = (child.attributes.get(key, "") for key in ("name", "value"))
            if len(name) + len(value) > PARAMETER_LIMIT:
                self._object(f"<Parameter> {name[:40]!r} is longer than {PARAMETER_LIMIT}", None)
            parameters[name] = value
        return parameters

    def _method(self, element: _Element, attribute: str = "method") -> str:
        method = element.attributes.get(attribute, "POST").upper()
        if method in ("GET", "POST"):
            return method
        self._object(f"{attribute} of <{element.name}> is neither GET nor POST")
        return "POST"

    def _loop(self, element: _Element) -> int:
        loop = element.attributes.get("loop", "1")
        if not (loop.isascii() and loop.isdigit()):
            self._object(f"loop of <{element.name}> is no number")
            return 1
        return min(int(loop[:4]), 1000) or 1000  # 0: until the call ends

    def _seconds(self, element: _Element, attribute: str, default: float) -> float:
        value = element.attributes.get(attribute)
        if value is None:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= TIMEOUT_LIMIT_S:  # also where it is not a number
            self._object(f"{attribute} of <{element.name}> is no number of seconds")
            return default
        return seconds


def _all_text(element: _Element) -> str:
    """Text of an element and of those in it, as far as order goes without their places."""
    return " ".join([element.text, *(_all_text(child) for child in element.children)])
