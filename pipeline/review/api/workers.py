"""Threads for what takes long: decoding, reading whole recordings; and apart, copying exports.

They are few, so that quick answers never wait behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Request

from ..media.export import MOST_AT_ONCE
from .errors import ApiError

MOST = 8
AGAIN_SECONDS = 5  # an export takes about as long
P = ParamSpec("P")
T = TypeVar("T")


def make_workers(app: FastAPI) -> None:
    """For `slowly` and `exporting`."""
    app.state.workers = CapacityLimiter(MOST)
    app.state.export_workers = CapacityLimiter(MOST_AT_ONCE)
    app.state.exporters = set()


async def slowly(
    request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """`function` in one of those threads, as soon as one is free."""
    limiter = request.app.state.workers
    assert isinstance(limiter, CapacityLimiter)
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=limiter)


async def exporting(
    request: Request, user: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """`function` in a thread for exports. Raises ApiError 429 while `user` has one there."""
    limiter, exporters = request.app.state.export_workers, request.app.state.exporters
    assert isinstance(limiter, CapacityLimiter)
    assert isinstance(exporters, set)
    if user in exporters:
        raise ApiError(
            429,
            "another export of yours is still being made; try again when it is done",
            {"Retry-After": str(AGAIN_SECONDS)},
        )
    exporters.add(user)
    try:
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=limiter)
    finally:
        exporters.discard(user)
