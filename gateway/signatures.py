"""Was it Twilio that asked? Signatures over our public URL, and why a wrong one is wrong (pure).

Twilio signs the URL that it was given, letter for letter (docs: Webhooks security). Accepted is
only a signature over what we emit ourselves: the public URL and our path, by the account's primary
or secondary auth token. Everything else that a signature might be over is tried only to say in the
log what is set wrong; that is never a reason to accept it.

Computing and comparing is left to twilio's RequestValidator. It tries the URL with and without a
port by itself, but believes that the port of wss is 80.
"""

import hmac
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product
from typing import Literal, NamedTuple

from twilio.request_validator import RequestValidator

from gateway.addresses import DEFAULT_PORTS, PublicUrl

HEADER = "X-Twilio-Signature"
# Twilio's shared keys sign with HMAC_SHA256, and say so here.
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"
ACCEPTED = ("primary", "secondary")
# HMACs that one explanation may cost, and explanations in a second: strangers can ask for them.
HMAC_LIMIT = 200
EXPLANATIONS_PER_S = 2

Fields = Iterable[tuple[str, str]]
Form = Mapping[str, Sequence[str]]
Reason = Literal["", "unsigned", "missing", "malformed", "mismatch"]

_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{27}=")  # 20 bytes in base64
_AUTHORITY = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}")
_PATH = re.compile(r"/[!-~]{0,1000}")
# Where ingresses leave the path that they rewrote.
_ORIGINAL_PATHS = ("x-original-uri", "x-original-url", "x-rewrite-url", "x-envoy-original-path")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`matches` says in words what the signature would be right for, or what is wrong with it."""

    is_valid: bool
    url: str
    token: str = ""
    reason: Reason = ""
    matches: tuple[str, ...] = ()


class _Params(dict[str, Sequence[str]]):
    """A form as RequestValidator reads it: a name may have several values."""

    def getall(self, name: str) -> Sequence[str]:
        return self[name]


class _Choice(NamedTuple):
    """One value of one part of what is signed. `words` is empty for what it should be."""

    words: str
    value: str


class SignatureChecker:
    """Checks requests against the auth tokens, which are named and never shown.

    `tokens`: "primary" and "secondary" are accepted; any other name is of a region, whose token
    only explains. Without tokens, or with `allow_unsigned` and no signature, a request passes.
    """

    def __init__(
        self, public_url: PublicUrl, tokens: Mapping[str, str], *, allow_unsigned: bool = False
    ) -> None:
        self._public = public_url
        self._validators = {name: RequestValidator(token) for name, token in tokens.items()}
        self._allow_unsigned = allow_unsigned
        self._explained: deque[float] = deque(maxlen=EXPLANATIONS_PER_S)

    def __repr__(self) -> str:
        return f"<SignatureChecker {self._public} with tokens: {', '.join(self._validators)}>"

    def check_webhook(
        self, target: str, headers: Fields, form: Form | str, *, now: float
    ) -> Verdict:
        """A request for `target` (path and query as received). `form` as str is a JSON body."""
        return self._check(self._public.scheme, target, headers, form, now)

    def check_upgrade(self, target: str, headers: Fields, *, now: float) -> Verdict:
        """The upgrade request of a stream, which is signed over wss://."""
        scheme = "wss" if self._public.scheme == "https" else "ws"
        return self._check(scheme, target, headers, {}, now)

    def _check(
        self, scheme: str, target: str, headers: Fields, form: Form | str, now: float
    ) -> Verdict:
        fields: dict[str, list[str]] = {}
        for name, value in headers:
            fields.setdefault(name.lower(), []).append(value)
        origin = f"{scheme}://{self._public.authority}"
        # An ingress that strips the prefix may be behind one whose prefix is part of our path.
        paths = dict.fromkeys([self._public.prefix + self._public.local(target)])
        paths[self._public.prefix + target] = None
        url = origin + next(iter(paths))
        signatures = fields.get(HEADER.lower(), [])
        if not self._validators or (self._allow_unsigned and not signatures):
            return Verdict(True, url, reason="unsigned")
        if not signatures:
            return Verdict(False, url, "", "missing", (_MISSING,))
        if problem := _malformed(target, signatures, fields, form):
            return Verdict(False, url, "", "malformed", (problem,))
        signature = signatures[0]
        for name, path in product(ACCEPTED, paths):
            if name in self._validators and self._is_valid(name, origin, path, form, signature):
                return Verdict(True, url, name)
        if len(self._explained) == EXPLANATIONS_PER_S and now - self._explained[0] < 1:
            return Verdict(False, url, "", "mismatch", (_TOO_MANY,))
        self._explained.append(now)
        found = self._explain(scheme, next(iter(paths)), target, fields, form, signature)
        return Verdict(False, url, "", "mismatch", (found or _UNKNOWN,))

    def _is_valid(
        self, name: str, origin: str, path: str, form: Form | str, signature: str
    ) -> bool:
        validator = self._validators[name]
        params = form if isinstance(form, str) else _Params(form)
        origins = [origin]
        if origin.startswith("wss:") and not re.search(r":[0-9]+$", origin):
            origins.append(f"{origin}:443")
        return any(validator.validate(each + path, params, signature) for each in origins)

    def _explain(
        self,
        scheme: str,
        path: str,
        target: str,
        fields: dict[str, list[str]],
        form: Form | str,
        signature: str,
    ) -> str | None:
        """What the signature is over, if that is one of the things that go wrong."""
        expected_path, _, query = path.partition("?")
        params = {} if isinstance(form, str) else form
        if isinstance(form, str) and self._is_over(
            "primary", f"{scheme}://{self._public.authority}{path}", {}, signature
        ):
            return "the URL is right, but the body is not the one that was signed (bodySHA256)"
        axes = [
            self._tokens(),
            _authorities(self._public.authority, scheme, fields),
            _schemes(scheme),
            _paths(expected_path, target.partition("?")[0], self._public.prefix, fields),
            _contents(query, bool(params)),
        ]
        for choices in islice(_by_deviation(axes), HMAC_LIMIT):
            token, authority, tried, tried_path, content = (choice.value for choice in choices)
            url = f"{tried}://{authority}{tried_path}"
            if self._is_over(token, *_signed(url, content, query, params), signature):
                words = ", ".join(choice.words for choice in choices if choice.words)
                return f"it matches {words}: {url}"
        return None

    def _is_over(self, name: str, url: str, params: Form, signature: str) -> bool:
        if name not in self._validators:
            return False
        computed = self._validators[name].compute_signature(url, _Params(params))
        return hmac.compare_digest(computed, signature)

    def _tokens(self) -> list[_Choice]:
        first = next(iter(self._validators))
        named = {"primary": "the primary token", "secondary": "the secondary token"}
        return [
            _Choice("" if name == first else named.get(name, f"the token of region {name}"), name)
            for name in self._validators
        ]


_MISSING = f"there is no {HEADER}: the request is not Twilio's, or an ingress removed the header"
_TOO_MANY = "not explained: too many wrong signatures in this second"
_UNKNOWN = (
    "it matches nothing that goes wrong often: the auth token is another account's or region's, "
    "or the ingress changes the URL or the form"
)


def _malformed(
    target: str, signatures: list[str], fields: dict[str, list[str]], form: Form | str
) -> str | None:
    if "HMAC_SHA256" in ",".join(fields.get(SETTINGS_HEADER, [])).upper():
        return "it is by a shared key with HMAC_SHA256; this gateway knows auth tokens alone"
    if len(signatures) > 1:
        return f"there are {len(signatures)} {HEADER} headers"
    if _SIGNATURE.fullmatch(signatures[0]) is None:
        return f"{HEADER} is not the base64 of 20 bytes"
    if _PATH.match(target) is None or re.search(r"[^!-~]", target):
        return "the request's target is no path of printable ASCII"
    if isinstance(form, str) and "bodySHA256=" not in target.partition("?")[2]:
        return (
            "a body that is no form is signed through bodySHA256 in the query, which is not there"
        )
    return None


def _schemes(expected: str) -> list[_Choice]:
    others = [
        _Choice(f"{scheme}:// in place of {expected}://", scheme)
        for scheme in ("https", "http", "wss", "ws")
        if scheme != expected
    ]
    return [_Choice("", expected), *others]


def _authorities(expected: str, scheme: str, fields: dict[str, list[str]]) -> list[_Choice]:
    host, port = _split_port(expected)
    choices = {expected: ""}
    if port:
        choices.setdefault(host, f"the URL without its port :{port}")
    for number in (DEFAULT_PORTS[scheme], 443, 80):
        choices.setdefault(f"{host}:{number}", f"the port :{number} in the URL")
    for source in ("x-forwarded-host", "host", "x-original-host"):
        value = _first(fields, source)
        if _AUTHORITY.fullmatch(value):
            words = f"the host {value} (the request's {source.title()})"
            choices.setdefault(value, words)
            bare, port = _split_port(value)
            other = bare if port else f"{value}:443"
            choices.setdefault(other, f"the host {other} (the request's {source.title()})")
    choices.setdefault(expected.lower(), "the host in lower case")
    choices.setdefault(expected.upper(), "the host in upper case")
    return [_Choice(words, value) for value, words in choices.items()]


def _paths(
    expected: str, received: str, prefix: str, fields: dict[str, list[str]]
) -> list[_Choice]:
    choices = {expected: ""}
    if expected.endswith("/"):
        choices.setdefault(expected.rstrip("/"), "the path without the slash at its end")
    else:
        choices.setdefault(f"{expected}/", "the path with a slash at its end")
    if prefix:
        choices.setdefault(received.removeprefix(prefix), f"the path without the prefix {prefix}")
    before = [(name, _first(fields, name).partition("?")[0]) for name in _ORIGINAL_PATHS]
    before.append(("x-forwarded-prefix", _first(fields, "x-forwarded-prefix") + received))
    for name, path in before:
        if _PATH.fullmatch(path) and path != received:
            choices.setdefault(path, f"the path {path}, as it was before it was rewritten ({name})")
    # An ingress that adds a prefix is seen by what is left when it is taken away.
    segments = expected.split("/")[1:]
    for count in range(1, min(len(segments), 4) + 1):
        rest = "/" + "/".join(segments[count:])
        choices.setdefault(rest, f"the path {rest}, to which an ingress adds")
    return [_Choice(words, value) for value, words in choices.items()]


def _contents(query: str, has_form: bool) -> list[_Choice]:
    choices = [_Choice("", "as received")]
    if query:
        choices.append(_Choice("the URL without its query", "no query"))
        choices.append(_Choice("the query's values as parameters", "query as parameters"))
    if has_form:
        choices.append(_Choice("the URL without the form's fields, as of a GET", "no form"))
    return choices


def _signed(url: str, content: str, query: str, params: Form) -> tuple[str, Form]:
    """What is signed of a URL without its query, as _contents has it."""
    if content == "no query":
        return url, params
    if content == "query as parameters":
        pairs = (part.partition("=") for part in query.split("&"))
        return url, {**params, **{name: [value] for name, _, value in pairs}}
    return f"{url}?{query}" if query else url, {} if content == "no form" else params


def _by_deviation(axes: Sequence[list[_Choice]]) -> Iterator[list[_Choice]]:
    """Combinations of one choice of each axis: one thing wrong first, then two, then three."""
    expected = [axis[0] for axis in axes]
    for count in range(1, len(axes) + 1):
        for wrong in combinations(range(len(axes)), count):
            for values in product(*(axes[index][1:] for index in wrong)):
                choices = list(expected)
                for index, value in zip(wrong, values, strict=True):
                    choices[index] = value
                yield choices


def _split_port(authority: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*[^:]):([0-9]+)", authority)
    return (found[1], found[2]) if found else (authority, "")


def _first(fields: dict[str, list[str]], name: str) -> str:
    """The first value of a header, which proxies extend with commas."""
    return (fields.get(name) or [""])[0].partition(",")[0].strip()
