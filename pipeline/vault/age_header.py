"""Whether bytes begin as an age file does (age-encryption.org/v1), read strictly and without keys.

Version line, stanzas, MAC line, and room for a payload. What it seals and for whom stays unknown:
that shows when somebody opens it.
"""

from __future__ import annotations

import base64
import re

MAGIC = b"age-encryption.org/v1\n"
MOST_HEADER_BYTES = 64 * 1024
MOST_STANZAS = 64
_PAYLOAD_BYTES = 16 + 16  # a nonce, and a chunk's tag
_COLUMNS = 64  # of a body's line
_WORD = re.compile(rb"[\x21-\x7e]+")
_LOG_N = re.compile(rb"[1-9][0-9]?")


def check_age_header(data: bytes) -> None:
    """Raises ValueError where these bytes are no age file for a key or a passphrase."""
    end = data.find(b"\n---", 0, MOST_HEADER_BYTES)
    if not data.startswith(MAGIC) or end < 0:
        raise ValueError("no age header")
    stop = data.find(b"\n", end + 1, end + 64)
    mac = data[end + 1 : stop]
    if stop < 0 or not mac.startswith(b"--- ") or len(_decoded(mac[4:])) != 32:
        raise ValueError("no MAC line")
    if len(data) - (stop + 1) < _PAYLOAD_BYTES:
        raise ValueError("no payload")
    kinds = _stanzas(data[len(MAGIC) : end + 1].split(b"\n")[:-1])
    if b"scrypt" in kinds and len(kinds) > 1:
        raise ValueError("a passphrase stands alone")
    if b"scrypt" not in kinds and b"X25519" not in kinds:
        raise ValueError("for nobody")


def _stanzas(lines: list[bytes]) -> list[bytes]:
    """Their kinds. Unknown ones are skipped, as age does: some programs add such on purpose."""
    kinds: list[bytes] = []
    at = 0
    while at < len(lines):
        words = lines[at].split(b" ")
        if words[0] != b"->" or len(words) < 2 or not all(map(_WORD.fullmatch, words)):
            raise ValueError("no stanza")
        at += 1
        body = b""
        while at < len(lines) and len(lines[at]) == _COLUMNS:
            body += _decoded(lines[at])
            at += 1
        if at == len(lines) or len(lines[at]) > _COLUMNS:
            raise ValueError("a body without its end")
        body += _decoded(lines[at])
        at += 1
        _check_known(words[1], words[2:], body)
        kinds.append(words[1])
        if len(kinds) > MOST_STANZAS:
            raise ValueError("too many stanzas")
    return kinds


def _check_known(kind: bytes, arguments: list[bytes], body: bytes) -> None:
    if kind == b"X25519":
        fits = [len(_decoded(one)) for one in arguments] == [32]
    elif kind == b"scrypt":
        fits = len(arguments) == 2 and len(_decoded(arguments[0])) == 16
        fits = fits and _LOG_N.fullmatch(arguments[1]) is not None
    else:
        return
    if not fits or len(body) != 32:  # a file key of 16 bytes, and its tag
        raise ValueError("a stanza that is none")


def _decoded(text: bytes) -> bytes:
    """Of base64 without padding, in its one spelling."""
    data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    if base64.b64encode(data).rstrip(b"=") != text:
        raise ValueError("no base64")
    return data
