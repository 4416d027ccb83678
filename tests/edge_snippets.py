"""Parts of configurations of Traefik and Envoy, and what becomes of Twilio's requests there.

tests/test_lint_traefik.py and tests/test_lint_envoy.py ask the linters, tests/ingress the programs.
None is what the linter cannot tell, "" a path that it cannot.
"""

from typing import Any

# A rule of a router; whether it takes the webhook and the stream.
RULES: tuple[tuple[str, bool | None, bool | None], ...] = (
    ("Host(`voice.example.com`)", True, True),
    ("Host(`VOICE.example.com`) && Path(`/voice/stream`)", False, True),
    ("PathPrefix(`/voice/s`)", False, True),
    ('Path("/voice/webhook")', True, False),
    ("Path(`/voice/stream/`)", False, False),
    ("!Method(`GET`)", True, False),
    ("Path(`/a`) || Path(`/voice/stream`) && Method(`POST`)", False, False),
    ("(Path(`/a`) || Path(`/voice/stream`)) && Method(`GET`)", False, True),
    ("HeaderRegexp(`Connection`,`(?i)upgrade`)", False, True),
    ("Header(`Upgrade`, `websocket`)", False, True),
    ("HostRegexp(`^[a-z]+\\.example\\.com$`)", True, True),
    ("PathRegexp(`/str`)", False, True),
    ("Query(`token`, `1`)", False, False),
    ("ClientIP(`10.0.0.0/8`)", None, None),
    ("ClientIP(`10.0.0.0/8`) && Path(`/voice/stream`)", False, None),
    ("ClientIP(`10.0.0.0/8`) || Path(`/voice/stream`)", None, True),
    ("Path(`/{any:.*}`)", None, None),
)
# A rule, and why it is refused, in the linter's words.
REFUSED_RULES: tuple[tuple[str, str], ...] = (
    ("", "the end where a matcher should be"),
    ("Path(`/a`) &&", "the end where a matcher should be"),
    ("Path(`/a`))", ") where the end should be"),
    ("Path(/a)", "/ is no part of a rule"),
    ("Path(a)", "a where a quoted value should be"),
    ("Paths(`/a`)", "there is no matcher Paths"),
    ("Host()", "Host has too few values"),
    ("PathRegexp(`(`)", "(: missing closing )"),
)
# A kind of middleware, its options, the path that is asked for and the one that arrives.
MIDDLEWARES: tuple[tuple[str, str, str, str], ...] = (
    ("stripPrefix", "{prefixes: [/x, /voice]}", "/voice/stream", "/stream"),
    ("stripPrefix", "{prefixes: [/voice/stream]}", "/voice/stream", "/"),
    ("stripPrefixRegex", "{regex: ['^/v[a-z]+']}", "/voice/stream", "/stream"),
    ("addPrefix", "{prefix: /gw}", "/voice/stream", "/gw/voice/stream"),
    ("replacePath", "{path: /s}", "/voice/stream", "/s"),
    ("replacePathRegex", "{regex: ^/voice/(.*), replacement: /$1}", "/voice/stream", "/stream"),
    ("replacePathRegex", "{regex: ^/a, replacement: /b}", "/voice/stream", "/voice/stream"),
    ("replacePathRegex", "{regex: ^/v, replacement: /$9}", "/voice/stream", ""),
    ("compress", "{}", "/voice/stream", "/voice/stream"),
)
# The match of a route; whether it takes the webhook and the stream.
MATCHES: tuple[tuple[dict[str, Any], bool | None, bool | None], ...] = (
    ({"prefix": "/"}, True, True),
    ({"prefix": "/voice/s"}, False, True),
    ({"prefix": "/VOICE", "case_sensitive": False}, True, True),
    ({"prefix": "/VOICE"}, False, False),
    ({"path": "/voice/stream"}, False, True),
    ({"path_separated_prefix": "/voice"}, True, True),
    ({"path_separated_prefix": "/voi"}, False, False),
    ({"safe_regex": {"regex": "/voice/s"}}, False, False),
    ({"safe_regex": {"regex": "/voice/s.*"}}, False, True),
    ({"safe_regex": {"regex": "("}}, None, None),
    ({"prefix": "/", "headers": [{"name": ":method", "exact_match": "GET"}]}, False, True),
    ({"prefix": "/", "headers": [{"name": "Upgrade", "present_match": True}]}, False, True),
    ({"prefix": "/", "headers": [{"name": "upgrade", "present_match": False}]}, True, False),
    (
        {
            "prefix": "/",
            "headers": [
                {"name": "upgrade", "present_match": True, "invert_match": True},
            ],
        },
        True,
        False,
    ),
    (
        {
            "prefix": "/",
            "headers": [
                {"name": "cookie", "string_match": {"exact": "x"}, "invert_match": True},
            ],
        },
        False,
        False,
    ),
    (
        {
            "prefix": "/",
            "headers": [
                {"name": "user-agent", "string_match": {"safe_regex": {"regex": "Twilio.T.*"}}}
            ],
        },
        False,
        True,
    ),
    ({"prefix": "/", "query_parameters": [{"name": "token"}]}, False, False),
    ({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 5}}}, None, None),
    ({"connect_matcher": {}}, False, False),
    ({}, None, None),
)
# A route, and the path under which /voice/stream arrives.
REWRITES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"match": {"prefix": "/voice"}, "route": {"prefix_rewrite": "/"}}, "//stream"),
    ({"match": {"prefix": "/voice/"}, "route": {"prefix_rewrite": "/"}}, "/stream"),
    ({"match": {"prefix": "/"}, "route": {"prefix_rewrite": "/x"}}, "/xvoice/stream"),
    ({"match": {"path": "/voice/stream"}, "route": {"prefix_rewrite": "/s"}}, "/s"),
    ({"match": {"safe_regex": {}}, "route": {"prefix_rewrite": "/s"}}, ""),
    (
        {
            "match": {"prefix": "/"},
            "route": {
                "regex_rewrite": {"pattern": {"regex": "^/(\\w+)/"}, "substitution": "/\\1-"}
            },
        },
        "/voice-stream",
    ),
    ({"match": {"prefix": "/"}, "route": {"path_rewrite_policy": {"name": "x"}}}, ""),
    ({"match": {"prefix": "/"}, "route": {"cluster": "gateway"}}, "/voice/stream"),
)
