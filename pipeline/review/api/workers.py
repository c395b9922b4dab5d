"""Threads for what takes long: decoding, copying, reading whole recordings.

They are few and apart, so that quick answers never wait behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Request

MOST = 8
P = ParamSpec("P")
T = TypeVar("T")


def make_workers(app: FastAPI) -> None:
    """For `slowly`."""
    app.state.workers = CapacityLimiter(MOST)


async def slowly(
    request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """`function` in one of those threads, as soon as one is free."""
    limiter = request.app.state.workers
    assert isinstance(limiter, CapacityLimiter)
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=limiter)
