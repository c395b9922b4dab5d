"""One fusion model for all sessions of a process, on a thread of its own.

Engines are bound to a thread, and a native call that hangs cannot be interrupted: a caller waits
for its answer for a bounded time only, and is refused at once while a call hangs. The thread that
hangs stays until the process ends.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from engines import EngineError
from engines.fusion import FaceSecrets, FusionModel, FusionSpec

from .frames import U8Array

Picture = tuple[U8Array, ...]
OPEN_SECONDS = 600.0  # compiling for a GPU takes minutes; its plan is then kept


@dataclass(frozen=True, slots=True)
class _Request:
    run: Callable[[FusionModel], Picture] = field(repr=False)
    answer: Future[Picture] = field(repr=False)


_Requests = queue.SimpleQueue[_Request | None]


class FusionWorker:
    """Lives as long as something refers to it; then its thread frees the model and ends."""

    def __init__(self, open_model: Callable[[], FusionModel]) -> None:
        """Opens the model at once. Raises what `open_model` raises, EngineError if it hangs."""
        self._requests: _Requests = queue.SimpleQueue()  # a session waits for its own: bounded
        opened: Future[tuple[FusionSpec, str]] = Future()
        threading.Thread(
            target=_work, args=(open_model, self._requests, opened), name="fusion", daemon=True
        ).start()
        self.close = weakref.finalize(self, self._requests.put, None)
        """End the thread, after what it has in hand. Idempotent."""
        self._hung: Future[Picture] | None = None
        try:
            self.spec, self.runtime = opened.result(OPEN_SECONDS)
        except FutureTimeout:
            raise EngineError(f"a fusion model did not open within {OPEN_SECONDS:g} s") from None

    def protect(
        self,
        original: Sequence[U8Array],
        obfuscated: Sequence[U8Array],
        secrets: FaceSecrets,
        *,
        timeout_seconds: float,
    ) -> Picture:
        """See FusionModel. From any thread. Raises EngineError."""
        return self._call(
            lambda model: model.protect(original, obfuscated, secrets), timeout_seconds
        )

    def _call(self, run: Callable[[FusionModel], Picture], timeout_seconds: float) -> Picture:
        if not self.close.alive:
            raise EngineError("the fusion model is closed")
        if self._hung is not None and not self._hung.done():
            raise EngineError("the fusion model hangs")
        request = _Request(run, Future())
        self._requests.put(request)
        try:
            return request.answer.result(timeout_seconds)
        except FutureTimeout:
            if not request.answer.cancel():  # it is this one that hangs; else one before it
                self._hung = request.answer
            raise EngineError(f"no answer from the fusion model in {timeout_seconds:g} s") from None
        except CancelledError:
            raise EngineError("the fusion model is closed") from None


def _work(
    open_model: Callable[[], FusionModel],
    requests: _Requests,
    opened: Future[tuple[FusionSpec, str]],
) -> None:
    """The thread. It knows no worker: who forgets the worker ends it."""
    try:
        model = open_model()
    except BaseException as error:
        opened.set_exception(error)
        return
    opened.set_result((model.spec, model.runtime))
    while (request := requests.get()) is not None:
        if not request.answer.set_running_or_notify_cancel():
            continue
        try:
            answer = request.run(model)
        except Exception as error:  # the caller's to judge; the next request may go well
            request.answer.set_exception(error)
        else:
            request.answer.set_result(answer)
        del request  # originals stay nowhere longer than they must
    model.close()
