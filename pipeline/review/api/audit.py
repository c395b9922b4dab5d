"""The console's entries in the audit log, signed with console.key, written off the event loop."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ...errors import VaultError
from ...vault.audit import append, audit_path
from ..told import told
from .context import Context
from .errors import ApiError

_log = logging.getLogger(__name__)


def must_log(context: Context, action: str, user: str, **more: object) -> None:
    """Before what it says takes effect. Blocks. Raises ApiError 503: then it may not be done."""
    try:
        append(audit_path(), {"action": action, "user": user, **more}, signer=context.signer)
    except VaultError as error:
        context.counts.audit_failures += 1
        _log.error("console: %s", error)
        raise ApiError(
            503, "the audit log cannot be written, so this was not done; ask who runs this service"
        ) from None


def logged(
    context: Context, action: str, user: str, **more: object
) -> AbstractContextManager[None]:
    """The block is what is said; where it fails, the log says that too. Raises ApiError 503."""

    def write(action: str, /, **said: object) -> None:
        must_log(context, action, user, **said)

    return told(write, action, **more)


def try_log(context: Context, action: str, user: str, **more: object) -> None:
    """For what nobody is kept from because a disk is full: sign-ins and sign-outs. Blocks."""
    try:
        must_log(context, action, user, **more)
    except ApiError:
        return  # counted and said there
