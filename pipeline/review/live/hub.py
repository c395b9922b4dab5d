"""Hands the live streams to their viewers: one writer thread, any number of asyncio readers.

    reader of the pipe -> LiveHub -> one bounded queue per viewer -> WebSocket

A viewer first gets the init segment and what came since the last keyframe, so that a picture
stands at once. One that lags is dropped to the next keyframe; nobody waits for it. A viewer
outlives a stream: the next one begins with its own init segment.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from .hls import LiveHls
from .pieces import Fragment, InitSegment, LiveStream

__all__ = ["Fragment", "InitSegment", "LiveHub", "LiveStream", "Viewer"]

VIEWER_FRAGMENTS = 150  # 6 s at 25 frames a second: more would only be old pictures
VIEWER_BYTES = 16_000_000
GROUP_BYTES = 16_000_000  # a group that outgrows this is no longer kept for new viewers
VIEWER_TIMEOUT_SECONDS = 10.0


class Viewer:
    """One client's queue. The hub fills it, a coroutine of the client's loop empties it."""

    def __init__(self, timeout_seconds: float) -> None:
        """For the running loop."""
        self.dropped = 0  # fragments
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._queue: deque[InitSegment | Fragment] = deque()
        self._fragments = 0
        self._bytes = 0
        self._needs_keyframe = True
        self._ended = False  # a stream ended, or the hub was closed: `next` says so once
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> list[InitSegment | Fragment]:
        """All that waits, neighbouring fragments joined into one.

        Empty where the stream has ended: the next call waits for another. Raises TimeoutError
        where nothing came for the viewer's timeout.
        """
        while not (items := self._take()):
            with self._lock:
                if self._ended:
                    self._ended = False
                    return []
                if self._queue:
                    continue
                waiter = self._waiter = self._loop.create_future()
            try:
                await asyncio.wait_for(waiter, self._timeout_seconds)
            finally:
                self._waiter = None
        return items

    def _take(self) -> list[InitSegment | Fragment]:
        with self._lock:
            waiting = list(self._queue)
            self._queue.clear()
            self._fragments = self._bytes = 0
        items: list[InitSegment | Fragment] = []
        run: list[Fragment] = []
        for item in waiting:
            if isinstance(item, InitSegment):
                items += _joined(run)
                items.append(item)
                run = []
            else:
                run.append(item)
        return items + _joined(run)

    # --- the writer's side ---

    def begin(self, init: InitSegment) -> None:
        """A new stream: what waits of the one before is of no use any more."""
        with self._lock:
            self.dropped += self._fragments
            self._queue.clear()
            self._queue.append(init)
            self._fragments = self._bytes = 0
            self._needs_keyframe = True
            self._ended = False

    def offer(self, fragment: Fragment) -> bool:
        """Queue a fragment; never waits. True where somebody is to be woken.

        A full queue starts over at the next keyframe.
        """
        with self._lock:
            if self._fragments >= VIEWER_FRAGMENTS or self._bytes >= VIEWER_BYTES:
                self.dropped += self._fragments
                kept = [item for item in self._queue if isinstance(item, InitSegment)]
                self._queue = deque(kept)
                self._fragments = self._bytes = 0
                self._needs_keyframe = True
            if self._needs_keyframe and not fragment.is_keyframe:
                self.dropped += 1
                return False
            self._needs_keyframe = False
            self._queue.append(fragment)
            self._fragments += 1
            self._bytes += len(fragment.data)
            return self._waiter is not None

    def end(self) -> None:
        """The stream is over."""
        with self._lock:
            self._ended = True

    def wake(self) -> None:
        """In the viewer's own loop: whoever waits in `next` looks again."""
        if (waiter := self._waiter) is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it is read."""
        return self._loop


@dataclass(slots=True)
class _Camera:
    """One camera's stream and those who watch it."""

    hls: LiveHls = field(default_factory=LiveHls)
    init: InitSegment | None = None
    refusal: str | None = None
    reason: str | None = None  # why there is no stream
    group: list[Fragment] = field(default_factory=list)  # since the last keyframe
    group_bytes: int = 0
    viewers: set[Viewer] = field(default_factory=set)
    waking: set[asyncio.AbstractEventLoop] = field(default_factory=set)  # loops asked to wake

    def forget_group(self) -> None:
        self.group, self.group_bytes = [], 0


class LiveHub:
    """The live streams of all cameras. Writers may be any thread, `watch` is for coroutines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        self._closed = False

    # --- the writer's side: never waits ---

    def begin(self, camera: str, init: InitSegment) -> None:
        """A new stream: viewers get the new init segment."""
        with self._lock:
            if self._closed:
                return
            at = self._of(camera)
            at.init, at.refusal, at.reason = init, None, None
            at.forget_group()
            at.hls.begin(init)
            for viewer in at.viewers:
                viewer.begin(init)
            self._wake(at)

    def publish(self, camera: str, fragment: Fragment) -> None:
        """To every viewer. A fragment without a stream is nobody's."""
        with self._lock:
            at = self._of(camera)
            if at.init is None:
                return
            if fragment.is_keyframe:
                at.forget_group()
            if fragment.is_keyframe or at.group:
                at.group.append(fragment)
                at.group_bytes += len(fragment.data)
            if at.group_bytes > GROUP_BYTES:
                at.forget_group()
            at.hls.add(fragment)
            somebody_waits = False
            for viewer in at.viewers:
                somebody_waits |= viewer.offer(fragment)
            if somebody_waits:
                self._wake(at)

    def end(self, camera: str, reason: str) -> None:
        """The stream is over; viewers stay and wait for the next."""
        with self._lock:
            self._end(self._of(camera), reason)

    def refuse(self, camera: str, reason: str) -> None:
        """It cannot be shown at all: for people, why and what to do."""
        with self._lock:
            at = self._of(camera)
            at.refusal = reason
            self._end(at, reason)

    def keep_only(self, cameras: tuple[str, ...]) -> None:
        """Cameras that are gone from the configuration are forgotten."""
        with self._lock:
            for camera in [name for name in self._cameras if name not in cameras]:
                at = self._cameras[camera]
                self._end(at, "this camera is not in the configuration any more")
                if not at.viewers:
                    del self._cameras[camera]

    def tidy(self) -> None:
        """To be called now and then: HLS that nobody asks for any more is forgotten."""
        with self._lock:
            for at in self._cameras.values():
                at.hls.tidy()

    def close(self) -> None:
        """For good: whoever waits is told so. Idempotent."""
        with self._lock:
            self._closed = True
            for at in self._cameras.values():
                self._end(at, "the console is stopping")

    # --- the readers' side ---

    def stream(self, camera: str) -> LiveStream | None:
        """What is live now; None where there is nothing."""
        with self._lock:
            at = self._cameras.get(camera)
            if at is None or at.init is None:
                return None
            return LiveStream(at.init, tuple(at.group))

    @asynccontextmanager
    async def watch(
        self, camera: str, *, timeout_seconds: float = VIEWER_TIMEOUT_SECONDS
    ) -> AsyncIterator[Viewer]:
        """A new viewer, from the last keyframe on. It may wait for a stream that is yet to come."""
        viewer = Viewer(timeout_seconds)
        with self._lock:
            at = self._of(camera)
            if self._closed:
                viewer.end()
            if at.init is not None:
                viewer.begin(at.init)
                if at.group:
                    viewer.offer(Fragment(b"".join(f.data for f in at.group), is_keyframe=True))
            at.viewers.add(viewer)
        try:
            yield viewer
        finally:
            with self._lock:
                at.viewers.discard(viewer)

    def viewers(self, camera: str) -> int:
        """How many watch."""
        at = self._cameras.get(camera)
        return len(at.viewers) if at else 0

    def refusal(self, camera: str) -> str | None:
        """Why it cannot be shown (H.265); None: it can."""
        at = self._cameras.get(camera)
        return at.refusal if at else None

    def waiting(self, camera: str) -> str | None:
        """Why there is no stream now; None: there is one."""
        at = self._cameras.get(camera)
        if at is None:
            return "no picture has come yet"
        return None if at.init is not None else at.reason or "no picture has come yet"

    def playlist(self, camera: str) -> str | None:
        """Live HLS, version 7; its entries are `live/NAME`. Asking is what begins it.

        None while no segment is whole: ask again in a moment.
        """
        with self._lock:
            at = self._of(camera)
            return at.hls.playlist(at.group)

    def hls_file(self, camera: str, name: str) -> bytes | None:
        """A file that the playlist names (video/mp4); None: it is gone."""
        at = self._cameras.get(camera)
        return at.hls.file(name) if at else None

    # --- inside, with the lock held ---

    def _of(self, camera: str) -> _Camera:
        return self._cameras.setdefault(camera, _Camera())

    def _end(self, at: _Camera, reason: str) -> None:
        at.init, at.reason = None, reason
        at.forget_group()
        at.hls.end()
        for viewer in at.viewers:
            viewer.end()
        self._wake(at)

    def _wake(self, at: _Camera) -> None:
        """One call for each loop, however many watch; none while one is under way."""
        for loop in {viewer.loop for viewer in at.viewers} - at.waking:
            at.waking.add(loop)
            try:
                loop.call_soon_threadsafe(self._woken, at, loop)
            except RuntimeError:  # the loop has been closed, and its viewers with it
                at.waking.discard(loop)

    def _woken(self, at: _Camera, loop: asyncio.AbstractEventLoop) -> None:
        """In the loop."""
        with self._lock:
            at.waking.discard(loop)
            woken = [viewer for viewer in at.viewers if viewer.loop is loop]
        for viewer in woken:
            viewer.wake()


def _joined(run: list[Fragment]) -> list[Fragment]:
    if len(run) < 2:
        return list(run)
    return [Fragment(b"".join(fragment.data for fragment in run), run[0].is_keyframe)]
