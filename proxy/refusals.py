"""A refused setting in one line: its name, its value (not a secret's), and what is allowed.

pydantic knows what is wrong, and where by its own way of counting; this says it in the words of
whoever wrote the file.
"""

import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings.exceptions import SettingsError as SourceError


class Refusals:
    """How settings of `model` are refused. `others` are names that it does not know and allows.

    `routes` are the names of its routes in the order of the file, None for one without.
    """

    def __init__(
        self,
        model: type[BaseModel],
        *,
        others: Iterable[str] = (),
        routes: Sequence[str | None] = (),
    ) -> None:
        self._model = model
        self._others = others
        self._routes = routes

    def explain(self, error: ValidationError | SourceError) -> str:
        """One line for each refused setting."""
        if isinstance(error, SourceError):
            return _explain_environment(error)
        return "\n".join(self._explain(item) for item in error.errors(include_url=False))

    def _explain(self, error: Any) -> str:
        """One refused setting as: name = value: what is allowed."""
        is_name = error["loc"][-1:] == ("[key]",)  # pydantic's mark of a wrong key
        path = error["loc"][: -1 if is_name else None]
        name = self._name(path)
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            known = names_within(self._model, path[:-1])
            known += self._others if len(path) == 1 else ()
            return f"{name}: there is no such setting{nearest(str(path[-1]), known)}"
        is_table = isinstance(error["input"], dict | BaseModel)
        if error["type"] in ("missing", "value_error") and is_table:
            return f"{name}: {message}"
        # The value of a header may be a credential.
        is_secret = path[-2:-1] == ("set",) and not is_name
        value = "[hidden]" if is_secret else repr(error["input"])
        return f"{name} = {value}: {message}"

    def _name(self, path: tuple[str | int, ...]) -> str:
        """A place as it is written down: items are counted from 1, routes go by their names."""
        parts = [str(part + 1) if isinstance(part, int) else part for part in path]
        if len(path) > 1 and path[0] == "route" and isinstance(path[1], int):
            called = self._routes[path[1]] if path[1] < len(self._routes) else None
            parts[:2] = [f"route {parts[1] if called is None else repr(called)}"]
        return ".".join(parts) or "settings"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was probably meant, or nothing."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _explain_environment(error: SourceError) -> str:
    """The source says which field it could not read; lists and tables are JSON there."""
    found = re.search('field "([a-z_]+)"', str(error))
    if found is None:
        return f"environment: {error}"
    name = f"HOPSCOPE_{found[1].upper()}"
    value = "[hidden]" if found[1] == "route" else repr(os.environ.get(name))
    return f"{name} = {value}: should be JSON, as all lists and tables of the environment"


def names_within(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """The settings that a table may hold: `path` leads to it from the top."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a setting's type, also where that is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in models if model is not None), None)


def unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Why a file could not be read, without Python's numbers and class names."""
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    if isinstance(error, FileNotFoundError):
        return "there is no such file; is the path right?"
    return error.strerror or str(error)
