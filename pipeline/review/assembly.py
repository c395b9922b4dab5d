"""What a console is made of: its database, key, index and upkeep, put together and taken apart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import BautaError
from ..vault.signing import service_key
from .api.context import Context
from .authenticator import LocalAuthenticator
from .index.indexer import Indexer
from .limits import LoginLimiter
from .live.facts import CameraFacts
from .live.hub import LiveHub
from .live.snapshot import Snapshots
from .media.export import Exports
from .media.playable import Playables
from .media.thumbnails import Thumbnails
from .plan import ConsolePlan
from .requests import RequestFlow
from .store import accounts, sessions
from .store.database import Database

KEY_NAME = "console.key"
UPKEEP_SECONDS = 60.0
LATE_INDEX_MS = 120_000  # an index that made no step for so long is not kept
_JOIN_SECONDS = 2.0
_log = logging.getLogger(__name__)


@contextmanager
def assembled(plan: ConsolePlan, *, hub: LiveHub, facts: CameraFacts) -> Iterator[Context]:
    """Everything the API works with; threads run until the end of the block.

    Raises StoreError, VaultError, UsageError.
    """
    signer = service_key(plan.own_dir / KEY_NAME)
    database = Database(plan.settings.database, plan.own_dir)
    stop = threading.Event()
    threads: list[threading.Thread] = []
    try:
        database.migrate()
        _make_demo_accounts(plan, database)
        playables = Playables(plan.own_dir)
        thumbnails = Thumbnails(plan.own_dir, playables=playables)
        indexer = Indexer(database, plan.folders, plan.cameras, dropped=thumbnails.forget)
        index_thread = threading.Thread(
            target=indexer.run, args=(stop,), name="console index", daemon=True
        )
        began_ms = _now_ms()

        def index_is_alive() -> bool:
            newest = max(indexer.state.last_ms, began_ms)
            return index_thread.is_alive() and _now_ms() - newest < LATE_INDEX_MS

        context = Context(
            plan=plan,
            database=database,
            hub=hub,
            snapshots=Snapshots(hub),
            facts=facts,
            playables=playables,
            thumbnails=thumbnails,
            exports=Exports(plan.own_dir, playables=playables),
            requests=RequestFlow(database, plan, signer),
            authenticator=LocalAuthenticator(database),
            limiter=LoginLimiter(),
            signer=signer,
            index_is_alive=index_is_alive,
        )
        upkeep = threading.Thread(
            target=_keep_up, args=(context, stop), name="console upkeep", daemon=True
        )
        threads += [index_thread, upkeep]
        for thread in threads:
            thread.start()
        yield context
    finally:
        stop.set()
        for thread in threads:
            thread.join(_JOIN_SECONDS)
        database.close()


def _make_demo_accounts(plan: ConsolePlan, database: Database) -> None:
    """Their passwords are made up anew each time."""
    for one in plan.demo:
        if accounts.get(database, one.name) is None:
            accounts.create(database, one.name, one.password, roles=one.roles, now_ms=_now_ms())
        else:
            accounts.change(
                database,
                one.name,
                roles=one.roles,
                cameras=None,
                disabled=False,
                password=one.password,
            )


def _keep_up(context: Context, stop: threading.Event) -> None:
    """Now and then: what has run out goes."""
    idle_ms = int(context.plan.settings.session_idle * 1000)
    while not stop.is_set():
        try:
            sessions.prune(context.database, _now_ms(), idle_ms)
            context.requests.expire_due()
        except BautaError as error:
            _log.warning("console: %s", error)
        except Exception:  # a defect must not end the upkeep for good
            _log.exception("console: upkeep")
        context.exports.sweep()
        stop.wait(UPKEEP_SECONDS)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
