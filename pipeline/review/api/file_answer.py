"""Recorded files to browsers: whole or one range of bytes, read in pieces off the event loop.

A path comes from the database, never from a request; what was really opened must lie in one of
the folders of recordings, or there is no such file.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .errors import ApiError, answer, no_such

PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """Whoever gets it closes `handle`; `FileAnswer` does."""

    handle: int
    size: int  # bytes, when it was opened: it may be growing
    etag: str


def open_inside(path: str, folders: Iterable[Path], what: str = "recording") -> OpenedFile:
    """Opens a plain file. Raises ApiError 404: it is gone, or lies in none of `folders`.

    What counts is where the opened file lies, so that no link leads out, not even one that is put
    there at this very moment.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError):
        raise no_such(what) from None
    try:
        found = os.fstat(handle)
        real = Path(f"/proc/self/fd/{handle}").readlink()
        inside = any(real.is_relative_to(folder.resolve()) for folder in folders)
        if not inside or not stat.S_ISREG(found.st_mode):
            raise no_such(what)
    except OSError:
        os.close(handle)
        raise no_such(what) from None
    except BaseException:
        os.close(handle)
        raise
    etag = f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'
    return OpenedFile(handle, found.st_size, etag)


def close(file: OpenedFile) -> None:
    """For who wanted to know alone whether it can be opened."""
    os.close(file.handle)


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, bytes) that a Range header asks for; None: all of it.

    What is no single range of bytes is passed over, as RFC 9110 allows. Raises ApiError 416.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many
        count = min(int(match[2]), size)
        first = size - count
    else:
        first = int(match[1])
        last = min(int(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and int(match[2]) < first:
            return None
        count = last - first + 1
    if count <= 0:
        raise ApiError(
            416, f"the file has {size} bytes, and none there", {"Content-Range": f"bytes */{size}"}
        )
    return first, count


class FileAnswer(Response):
    """200 or 206 with the bytes of an opened file, 304 where the browser has them; closes it."""

    def __init__(
        self, file: OpenedFile, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        self._file = file
        self._extra = dict(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await self._send(scope, receive, send)
        finally:
            os.close(self._file.handle)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        file = self._file
        if asked.get(b"if-none-match") == file.etag:
            await Response(status_code=304, headers={"ETag": file.etag})(scope, receive, send)
            return
        try:
            part = range_of(asked.get(b"range"), file.size)
        except ApiError as error:
            refusal = answer(error.status, error.message, error.headers)
            await refusal(scope, receive, send)
            return
        first, count = part or (0, file.size)
        headers = {
            **self._extra,
            "Content-Type": str(self.media_type),
            "Content-Length": str(count),
            "Accept-Ranges": "bytes",
            "ETag": file.etag,
        }
        if part is not None:
            headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{file.size}"
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        status = 200 if part is None else 206
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if scope.get("bauta.head") or count == 0:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await self._send_bytes(first, count, send, gone)
        finally:
            gone.cancel()

    async def _send_bytes(
        self, first: int, count: int, send: Send, gone: asyncio.Task[None]
    ) -> None:
        at, end = first, first + count
        while at < end and not gone.done():
            piece = await run_in_threadpool(
                os.pread, self._file.handle, min(end - at, PIECE_BYTES), at
            )
            if not piece:  # cut short under our hands: the connection breaks off, and so it should
                return
            at += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": at < end})


async def _until_gone(receive: Receive) -> None:
    """Sending to a client that has left would go on unnoticed."""
    while (await receive())["type"] != "http.disconnect":
        pass
