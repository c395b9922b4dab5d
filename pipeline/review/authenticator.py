"""Who somebody is: the seam where another way of signing in, such as OpenID Connect, would go.

Roles and cameras stay with the console's own accounts, whoever checks the password.
"""

from __future__ import annotations

from typing import Protocol

from .store import accounts
from .store.accounts import Account
from .store.database import Database


class Authenticator(Protocol):
    """Any thread may call it; it may take as long as a password's hash takes."""

    def authenticate(self, name: str, password: str) -> Account | None:
        """The account, or None: which of the two was wrong is not said. Raises StoreError."""


class LocalAuthenticator:
    """By the accounts and passwords of the console's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def authenticate(self, name: str, password: str) -> Account | None:
        """As the protocol says."""
        return accounts.verify(self._database, name, password)
