"""The live page: its files, and under which rules a browser runs them.

The page is static and holds nothing of anybody's: what it shows it asks of the API, as any other
client does. No request goes elsewhere, and no text of a peer becomes markup: the scripts set text,
never HTML. The policy below has the browser enforce both.
"""

from importlib.resources import files
from pathlib import PurePath

from aiohttp import web

_CONTENT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LivePage:
    """The files of proxy/page, read once."""

    def __init__(self) -> None:
        self._files = {
            file.name: file.read_bytes()
            for file in (files("proxy") / "page").iterdir()
            if PurePath(file.name).suffix in _CONTENT_TYPES
        }

    def response(self, name: str) -> web.Response:
        """Raises HTTPNotFound for a name that is none of the page's files."""
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound(text="the page has no such file\n")
        return web.Response(
            body=body,
            content_type=_CONTENT_TYPES[PurePath(name).suffix],
            charset="utf-8",
            headers=HEADERS,
        )
