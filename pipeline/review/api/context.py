"""Everything that the routes work with, made once by the server and handed to each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from ...vault.signing import SigningKey
from ..authenticator import Authenticator
from ..limits import LoginLimiter
from ..live.facts import CameraFacts
from ..live.hub import LiveHub
from ..live.snapshot import Snapshots
from ..media.export import Exports
from ..media.playable import Playables
from ..media.thumbnails import Thumbnails
from ..plan import ConsolePlan
from ..requests import RequestFlow
from ..store.database import Database
from .counts import ConsoleCounts
from .lock_outs import LockOuts
from .mime import Mimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One console."""

    plan: ConsolePlan
    database: Database
    hub: LiveHub
    snapshots: Snapshots
    facts: CameraFacts
    playables: Playables
    thumbnails: Thumbnails
    exports: Exports
    requests: RequestFlow
    authenticator: Authenticator
    limiter: LoginLimiter
    signer: SigningKey
    index_is_alive: Callable[[], bool] = lambda: True
    counts: ConsoleCounts = field(default_factory=ConsoleCounts)
    mimes: Mimes = field(default_factory=Mimes)
    lock_outs: LockOuts = field(default_factory=LockOuts)

    @property
    def is_secure(self) -> bool:
        """Whether this server itself speaks TLS."""
        return self.plan.settings.tls is not None


def context_of(connection: HTTPConnection) -> Context:
    """Of the app that a request came to."""
    context = connection.app.state.context
    assert isinstance(context, Context)
    return context


async def _dependency(request: Request) -> Context:  # async: sync ones cost a thread
    return context_of(request)


Ctx = Annotated[Context, Depends(_dependency)]
