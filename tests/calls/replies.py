"""What a gateway answered, and what it told a call to do."""

import json
from typing import Any, NamedTuple
from xml.etree import ElementTree


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Twiml(NamedTuple):
    """What a call was told to do."""

    call_sid: str
    reply: Reply

    @property
    def verbs(self) -> list[str]:
        assert self.reply.status == 200, self.reply
        return [element.tag for element in ElementTree.fromstring(self.reply.text)]  # noqa: S314

    @property
    def token(self) -> str:
        root = ElementTree.fromstring(self.reply.text)  # noqa: S314
        parameter = root.find("Connect/Stream/Parameter")
        assert parameter is not None
        return parameter.get("value", "")

    @property
    def says(self) -> str:
        return ElementTree.fromstring(self.reply.text).findtext("Say") or ""  # noqa: S314
