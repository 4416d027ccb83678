"""Which program a configuration file is for, told from its name and its text (pure)."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from doctor.linting.json_lines import read_json
from doctor.linting.nodes import Unreadable

# The module of doctor/linting that knows it.
LINTERS: Mapping[str, str] = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "apache": "apache",
    "cloudflared": "cloudflared",
    "tailscale": "tailscale",
    "caddy": "caddy",
    "traefik": "traefik",
    "envoy": "envoy",
    "hopscope": "hopscope_toml",
    "openclaw": "openclaw",
}
# A name that only one program's files have; what others share is told by the text.
_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"nginx.*\.conf|proxy_params", "nginx"),
        (r"haproxy.*\.cfg", "haproxy"),
        (r"(httpd|apache2?)\.conf", "apache"),
        (r"caddyfile(\..+)?|.+\.caddy(file)?", "caddy"),
        (r".*hopscope.*\.toml", "hopscope"),
        (r"openclaw.*\.json5?", "openclaw"),
        (r"traefik.*\.(ya?ml|toml)", "traefik"),
        (r"envoy.*\.(ya?ml|json)", "envoy"),
        (r"cloudflared.*\.ya?ml", "cloudflared"),
        (r"tailscale.*\.json", "tailscale"),
    )
)
_TEXTS = tuple(
    (re.compile(pattern, re.MULTILINE), kind)
    for pattern, kind in (
        (r"^# configuration file \S.*:$", "nginx"),
        (r"^(global|defaults|frontend|backend|listen)\b[^{};:=\n]*$", "haproxy"),
        (
            r"^[ \t]*<(VirtualHost|Location(Match)?|Directory|IfModule|Proxy)\b[^>]*>",
            "apache",
        ),
        (
            r"^[ \t]*(ProxyPass(Match)?|LoadModule|RewriteRule|ServerRoot) [^;{\n]+$",
            "apache",
        ),
        (r"^[ \t]*(http|events|stream|server|location\s[^{;\n]+|map\s+\S+\s+\S+)\s*\{", "nginx"),
        (r"^[ \t]*upstream\s+\S+\s*\{", "nginx"),
        (r"^[ \t]*(proxy_|server_name|listen|include|set)\w*\s[^{}\n]*;", "nginx"),
        (r"^(static_resources|dynamic_resources|layered_runtime)\s*:", "envoy"),
        (r"^(ingress|tunnel|originRequest)\s*:|^[ \t]*- hostname\s*:", "cloudflared"),
        (r"^(entryPoints|certificatesResolvers|serversTransport)\s*:", "traefik"),
        (r"^(http|tcp)\s*:[^\n]*\n([ \t]*(#[^\n]*)?\n)*[ \t]+(routers|services)\s*:", "traefik"),
        (r"^\[(entryPoints|http\.(routers|services)|providers)\b", "traefik"),
        (r"^\[\[?(proxy|gateway|route|history|media)\b|^upstream\s*=", "hopscope"),
        (r"^[ \t]*(reverse_proxy|handle(_path)?|respond|file_server|route)\b[^;\n]*$", "caddy"),
    )
)
_JSON_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(("TCP", "Web", "AllowFunnel", "Foreground", "Services")), "tailscale"),
    (frozenset(("ingress", "config", "warp-routing")), "cloudflared"),
    (frozenset(("static_resources", "dynamic_resources")), "envoy"),
    (frozenset(("plugins", "channels", "agents")), "openclaw"),
    (frozenset(("apps",)), "caddy"),
)
# Of JSON that is half-written: its first key, and what is indented as a first key.
_KEY = re.compile(r"""(?:\A\s*\{\s*|^[ \t]{0,4})["']?([\w-]+)["']?\s*:""", re.MULTILINE)


def kind_of_text(file: Path, text: str) -> str | None:
    """A key of LINTERS; None where neither name nor text tells."""
    for pattern, kind in _NAMES:
        if pattern.fullmatch(file.name):
            return kind
    if text.lstrip().startswith("{") or file.suffix.lower() in (".json", ".json5"):
        return _kind_of_json(file, text)
    for pattern, kind in _TEXTS:
        if pattern.search(text):
            return kind
    return None


def _kind_of_json(file: Path, text: str) -> str | None:
    try:
        value = json.loads(text)
        keys = set(value) if isinstance(value, dict) else set()
    except (ValueError, RecursionError):  # JSON with comments, or half-written
        try:
            keys = set(read_json(text).fields)
        except Unreadable:
            keys = set(_KEY.findall(text))
    for known, kind in _JSON_KEYS:
        if keys & known:
            return kind
    # `tailscale serve status --json` prints {} where nothing is served.
    is_serve = not keys and re.search(r"serve|funnel|tailscale", file.name)
    return "tailscale" if is_serve else None
