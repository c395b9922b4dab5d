"""A step and its entries in the audit log: one before it, and another where it then failed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..errors import AccountRefused, RecordingError, RequestRefused, StoreError, UsageError

NOT_DONE = "not done"
UNCERTAIN = "perhaps not done"  # the database was lost: whether it had taken it, nobody knows
_log = logging.getLogger(__name__)


class Write(Protocol):
    """Adds an entry; raises where the log does not take it."""

    def __call__(self, action: str, /, **more: object) -> object:
        """`more` is what the entry says."""


@contextmanager
def told(write: Write, action: str, **more: object) -> Iterator[None]:
    """The block is the step. Raises what `write` raises: then the step may not happen."""
    write(action, **more)
    try:
        yield
    except BaseException as error:
        outcome = UNCERTAIN if isinstance(error, StoreError) else NOT_DONE
        try:
            write(f"{action} {outcome}", **more, why=_why(error))
        except Exception:
            _log.error("console: the audit log does not say that a step failed: %s", action)
        raise


def _why(error: BaseException) -> str:
    if isinstance(error, AccountRefused | RecordingError | RequestRefused | UsageError):
        return str(error)
    return "the database failed" if isinstance(error, StoreError) else type(error).__name__
