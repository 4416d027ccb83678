"""The text of a configuration file, whatever lies under its name: within seconds, or refused."""

import codecs
import errno
import os
import select
import stat
import sys
import time
from pathlib import Path

from doctor.linting.nodes import Unreadable

SIZE_MAX = 4 << 20  # bytes; more is a log or a list, and takes the parsers minutes
STDIN = Path("-")
# How long nothing may come from a pipe: one in the shell's <(...), and standard input, where
# somebody may have to type a password first.
SILENCE_S = 5.0
STDIN_SILENCE_S = 60.0
_CHUNK = 1 << 16


def read_text(path: Path) -> str:
    """A configuration's text; "-" is standard input. Raises Unreadable with one sentence that says
    what to do."""
    try:
        data = _stdin() if path == STDIN else _file(path)
    except OSError as error:
        raise Unreadable(f"{path}: {_told(error)}") from None
    except ValueError:  # a null byte in the name
        raise Unreadable(f"{path!r}: is no name of a file") from None
    return decoded(path, data)


def decoded(path: Path, data: bytes) -> str:
    """UTF-8, or UTF-16 with its mark: what PowerShell writes for `nginx -T > FILE`."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_wide else "utf-8-sig", errors="replace")
    if "\0" in text:
        raise Unreadable(f"{path}: it is binary; name a configuration, which is text")
    return text.replace("\r\n", "\n")


def _stdin() -> bytes:
    if sys.stdin is None:  # it was closed, and its number may be another file's by now
        raise Unreadable("-: standard input is closed; pipe a configuration into it")
    if os.isatty(0):
        raise Unreadable("-: standard input is a terminal; pipe a configuration into it")
    return _read(STDIN, 0, STDIN_SILENCE_S)


def _file(path: Path) -> bytes:
    if path.is_dir():
        raise Unreadable(f"{path}: it is a folder; name the files in it")
    # Opening a pipe into which nobody writes would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_size > SIZE_MAX:
            raise _too_long(path)
        return _read(path, descriptor, SILENCE_S)
    finally:
        os.close(descriptor)


def _read(path: Path, descriptor: int, silence_s: float) -> bytes:
    """All that comes. Devices have no end, and some have no beginning."""
    data = bytearray()
    heard = time.monotonic()
    while True:
        remaining = heard + silence_s - time.monotonic()
        if remaining <= 0 or not select.select([descriptor], [], [], remaining)[0]:
            raise Unreadable(f"{path}: nothing came out of it for {silence_s:g} s; is it a file?")
        try:
            piece = os.read(descriptor, _CHUNK)
        except BlockingIOError:  # another reader was faster
            continue
        if not piece:
            return bytes(data)
        data += piece
        heard = time.monotonic()
        if len(data) > SIZE_MAX:
            raise _too_long(path)


def _too_long(path: Path) -> Unreadable:
    return Unreadable(f"{path}: it has more than {SIZE_MAX >> 20} MiB: no configuration")


def _told(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; is the path right?"
    if error.errno == errno.ELOOP:
        return "it is a symbolic link that leads back to itself"
    if isinstance(error, PermissionError):
        return f"{error.strerror}; may this user read it?"
    return f"{error.strerror or error}; is it a file?"
