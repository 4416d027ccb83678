"""A call's time line for people and for machines."""

from typing import Any

from rich.console import Console
from rich.text import Text

from doctor.diagnosis.text import printable
from doctor.incident.timeline import CallStory, Explained, Moment
from doctor.meanings import meaning

_VERDICTS = {"healthy": "green", "broken": "bold red", "cannot_tell": "yellow"}
_WHO = {"twilio": "cyan", "sidecar": "blue", "gateway": "magenta"}


def print_story(console: Console, story: CallStory) -> None:
    """The verdict, one line a moment, and what each of Twilio's codes means."""
    style = _VERDICTS[story.verdict]
    verdict = story.verdict.replace("_", " ")
    head = Text.assemble((verdict, style), f": {printable(story.sentence)}\n{story.call_sid}")
    console.print(head, soft_wrap=True)
    began = story.began
    for moment in story.moments:
        console.print(_line(moment, began), soft_wrap=True)
    for code in dict.fromkeys(each.incident.code for each in story.errors):
        known = meaning(code)
        text = Text.assemble((f"{code}", "bold"), f" {known.name}: {known.cause}\n      look at ")
        console.print(text.append(known.look_at), soft_wrap=True)
    for note in story.notes:
        console.print(Text(f"note: {printable(note)}", "dim"), soft_wrap=True)


def _line(moment: Moment, began: float) -> Text:
    style = "red" if moment.is_bad else "yellow" if moment.what == "warning" else ""
    seconds = moment.at - began
    relative = f"{seconds:+5.0f}     s  " if moment.is_whole else f"{seconds:+9.3f} s  "
    # One line each, whatever a peer has written into it.
    text = printable(moment.text).replace("\n", " ")
    return Text.assemble((relative, "dim"), (f"{moment.who:<8}", _WHO[moment.who]), (text, style))


def as_json(story: CallStory) -> dict[str, Any]:
    """The contract of `hopscope twilio --json`. `at` is epoch seconds, `at_s` since the first."""
    began = story.began
    return {
        "call_sid": story.call_sid,
        "verdict": story.verdict,
        "hop": story.hop,
        "sentence": story.sentence,
        "call": None if story.call is None else dict(story.call),
        "errors": [_error(told, began) for told in story.errors],
        "timeline": [
            {
                "at": round(moment.at, 3),
                "at_s": round(moment.at - began, 3),
                "who": moment.who,
                "what": moment.what,
                "text": moment.text,
                "is_bad": moment.is_bad,
                "code": moment.code,
                "id": moment.id,
            }
            for moment in story.moments
        ],
        "notes": story.notes,
    }


def _error(told: Explained, began: float) -> dict[str, Any]:
    incident, attribution = told.incident, told.attribution
    known = meaning(incident.code)
    return {
        "code": known.code,
        "name": known.name,
        "severity": "warning" if incident.is_warning else "error",
        "at": round(incident.at, 3),
        "at_s": round(incident.at - began, 3),
        "sid": incident.sid,
        "told_by": list(incident.sources),
        "method": incident.method or None,
        "url": incident.url or None,
        "status": incident.status,
        "hop": attribution.hop,
        "because": attribution.because,
        "arrival": told.arrival,
        "record": None if attribution.record is None else attribution.record["id"],
        "stamp": None if incident.stamp is None else incident.stamp.id,
        "answered_by": {name.lower(): value for name, value in incident.fields if value},
        "cause": known.cause,
        "look_at": known.look_at,
    }
