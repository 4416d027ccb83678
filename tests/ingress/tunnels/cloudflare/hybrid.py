"""X25519MLKEM768 for aioquic, which has neither ML-KEM nor HelloRetryRequest.

It is the one group of which cloudflared's first flight has a share. Both secrets are derived and
joined, ML-KEM's first (draft-ietf-tls-ecdhe-mlkem, section 4). The patch is on the three names by
which aioquic.tls (1.7.2) makes keys, and changes every TLS context of aioquic in the process.
"""

from types import SimpleNamespace
from typing import Any

from aioquic import tls
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

GROUP = 0x11EC
_ENCAPSULATION_KEY = 1184  # bytes of ML-KEM-768's (FIPS 203, table 3)


class _Theirs:
    """The client's share."""

    def __init__(self, share: bytes) -> None:
        key, point = share[:_ENCAPSULATION_KEY], share[_ENCAPSULATION_KEY:]
        self.kem = mlkem.MLKEM768PublicKey.from_public_bytes(key)
        self.point = x25519.X25519PublicKey.from_public_bytes(point)


class _Ours:
    """Our key, which is our public key, too: what we answer depends on their share."""

    def __init__(self) -> None:
        self._key = x25519.X25519PrivateKey.generate()
        self.share = b""

    @classmethod
    def generate(cls) -> "_Ours":
        return cls()

    def public_key(self) -> "_Ours":
        return self

    def exchange(self, theirs: _Theirs) -> bytes:
        secret, ciphertext = theirs.kem.encapsulate()
        self.share = ciphertext + self._key.public_key().public_bytes_raw()
        return secret + self._key.exchange(theirs.point)


def install() -> None:
    """Have every TLS context of aioquic agree on this group, and on no other."""
    patched: Any = tls
    if getattr(patched.x25519, "X25519PublicKey", None) is _Theirs:
        return
    patched.x25519 = SimpleNamespace(X25519PublicKey=_Theirs, X25519PrivateKey=_Ours)
    patched.decode_public_key = lambda share: _Theirs(bytes(share[1]))
    patched.encode_public_key = lambda ours: (GROUP, ours.share)
    made = patched.Context.__init__

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self._supported_groups = [GROUP]

    patched.Context.__init__ = init
