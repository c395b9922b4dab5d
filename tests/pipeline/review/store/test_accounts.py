"""Accounts and sessions: the rules that hold whoever asks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import argon2
import pytest
from sqlalchemy import select, text, update

from pipeline.errors import AccountRefused, ActorRefused, UsageError
from pipeline.review import passwords
from pipeline.review.authenticator import Authenticator, LocalAuthenticator
from pipeline.review.store import accounts, sessions
from pipeline.review.store.accounts import Account
from pipeline.review.store.database import Database
from pipeline.review.store.tables import SESSIONS, USERS

GOOD = "correct horse battery"
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hashes that take no time; test_passwords has the real ones."""
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)
    passwords._dummy.cache_clear()
    yield
    passwords._dummy.cache_clear()


def make(database: Database, name: str, *roles: str, cameras: set[str] | None = None) -> Account:
    return accounts.create(database, name, GOOD, roles=roles, cameras=cameras, now_ms=1)


def hash_of(database: Database, name: str) -> str:
    with database.read() as connection:
        return str(
            connection.execute(select(USERS.c.password_hash).where(USERS.c.name == name)).scalar()
        )


# --- accounts ---


def test_an_account_as_it_is_kept(database: Database) -> None:
    made = make(database, "BÖB", "approver", "requester", cameras={"yard", "lobby"})
    assert made == Account("böb", frozenset({"viewer", "approver", "requester"}), made.cameras)
    assert (
        made.cameras == frozenset({"lobby", "yard"}) and made.may("yard") and not made.may("vault")
    )
    assert accounts.get(database, "Böb") == made and accounts.get(database, "bob") is None
    everywhere = make(database, "ann")
    assert everywhere.cameras is None and everywhere.may("any")
    assert accounts.list(database) == (everywhere, made)
    nowhere = make(database, "eve", cameras=set())
    assert nowhere.cameras == frozenset() and not nowhere.may("any")
    assert hash_of(database, "ann").startswith("$argon2id$")


@pytest.mark.parametrize(
    "name",
    [
        *("", " a", "a ", "a\nb", "a\x00", "x" * 65, "a\u202eb", ".", "..", "-", "a/b", "a\\b"),
        *(
            "\u2100",
            "a@b",
            "a\u200bb",
            "a\u3000",
            "a\ud800",
            "\u2024\u2024",
            "a<b",
            "'",
            "\ufdfa" * 9,
        ),
    ],
)
def test_names_that_are_none(local: Database, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        make(local, name)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("x" * 11, "at least 12"),
        ("x" * 1025, "at most 1024"),
        ("ü" * 513, "at most 1024"),
        ("Administrator1", "must not be"),
    ],
)
def test_passwords_that_are_none(local: Database, password: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        accounts.create(local, "administrator1", password, now_ms=1)
    make(local, "administrator1")
    with pytest.raises(UsageError, match=why):
        accounts.change(local, "administrator1", password=password)


def test_roles_and_cameras_that_are_none(local: Database) -> None:
    with pytest.raises(UsageError, match="no role 'root'"):
        make(local, "bob", "root")
    with pytest.raises(UsageError, match="cameras"):
        make(local, "bob", cameras={"a\nb"})
    assert accounts.list(local) == ()


def test_a_name_is_given_once(database: Database) -> None:
    make(database, "bob")
    with pytest.raises(AccountRefused, match="there is an account bob already"):
        make(database, "BOB", "admin")
    assert accounts.list(database)[0].roles == {"viewer"}


@pytest.mark.parametrize(
    ("name", "kept", "again"),
    [
        ("cafe\u0301", "caf\u00e9", "CAF\u00c9"),
        ("\uff32oot", "root", "ROOT"),
        ("Stra\u00dfe", "strasse", "STRASSE"),
        ("\ufb01n 1.a_b-c", "fin 1.a_b-c", "FIN 1.A_B-C"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940", None),
        ("\u0130a", "i\u0307a", "I\u0307A"),
    ],
)
def test_what_looks_alike_is_one_name(
    local: Database, name: str, kept: str, again: str | None
) -> None:
    assert make(local, name).name == kept
    for other in (name, kept, again or name):
        with pytest.raises(AccountRefused, match="already"):
            make(local, other)
        found = accounts.get(local, other)
        assert found is not None and found.name == kept
        assert accounts.verify(local, other, GOOD) == found
    accounts.change(local, again or name, roles=["admin"], cameras=set())
    make(local, "second", "admin")
    sessions.close_all(local, name)
    accounts.remove(local, again or name)
    assert [one.name for one in accounts.list(local)] == ["second"]


@pytest.mark.parametrize("lost", ["removed", "disabled", "role"])
def test_whoever_acts_must_be_an_administrator_still(database: Database, lost: str) -> None:
    actor, bob = make(database, "ann", "admin"), make(database, "bob")
    make(database, "eve", "admin")
    if lost == "removed":
        accounts.remove(database, "ann")
        make(database, "ann", "admin")  # another one of that name
    elif lost == "disabled":
        accounts.change(database, "ann", disabled=True)
    else:
        accounts.change(database, "ann", roles=["approver"])
    for act in (
        lambda: accounts.create(database, "new", GOOD, now_ms=1, actor=actor),
        lambda: accounts.change(database, "bob", roles=["admin"], actor=actor),
        lambda: accounts.remove(database, "bob", actor=actor),
    ):
        with pytest.raises(ActorRefused, match="meanwhile"):
            act()
    assert accounts.get(database, "bob") == bob and accounts.get(database, "new") is None
    eve = accounts.get(database, "eve")
    assert accounts.create(database, "new", GOOD, now_ms=1, actor=eve).name == "new"


def test_a_session_that_was_ended_changes_no_password(database: Database) -> None:
    bob = make(database, "bob")
    token, _ = sessions.open(database, bob, 0, longest_ms=HOUR_MS)
    kept = sessions.token_hash(token)
    accounts.change(database, "bob", password="another good one", but_for=kept)
    accounts.change(database, "bob", password=GOOD)  # an administrator's, which ends it
    with pytest.raises(ActorRefused, match="session was ended"):
        accounts.change(database, "bob", password="the thief's own one", but_for=kept)
    assert accounts.verify(database, "bob", GOOD) is not None


def test_no_number_is_given_twice(database: Database) -> None:
    make(database, "ann", "admin")
    first = make(database, "bob")
    accounts.remove(database, "bob")
    assert make(database, "bob").id > first.id > 0


def test_changes(database: Database) -> None:
    make(database, "ann", "admin")
    make(database, "bob", "requester", cameras={"lobby"})
    before = hash_of(database, "bob")
    assert accounts.change(database, "bob").cameras == frozenset({"lobby"})
    changed = accounts.change(database, "Bob", cameras=None, roles=["viewer", "approver"])
    assert changed.cameras is None and changed.roles == {"viewer", "approver"}
    assert accounts.change(database, "bob", disabled=True).disabled
    assert hash_of(database, "bob") == before
    accounts.change(database, "bob", password="another good one", disabled=False)
    assert accounts.verify(database, "bob", GOOD) is None
    assert accounts.verify(database, "bob", "another good one") == accounts.get(database, "bob")
    accounts.remove(database, "bob")
    assert accounts.get(database, "bob") is None
    for call in (accounts.remove, accounts.change):
        with pytest.raises(AccountRefused, match="there is no account bob"):
            call(database, "bob")


def test_the_last_administrator_stays(database: Database) -> None:
    make(database, "ann", "admin")
    make(database, "bob", "admin")
    accounts.change(database, "bob", disabled=True)  # a disabled one does not count
    for call in (
        lambda: accounts.remove(database, "ann"),
        lambda: accounts.change(database, "ann", roles=["approver"]),
        lambda: accounts.change(database, "ann", disabled=True),
    ):
        with pytest.raises(AccountRefused, match="ann is the last administrator"):
            call()
    assert accounts.get(database, "ann") == Account("ann", frozenset({"viewer", "admin"}), None)
    accounts.change(database, "ann", password="another good one")
    accounts.change(database, "bob", disabled=False)
    accounts.remove(database, "ann")


def test_two_administrators_cannot_demote_each_other_at_once(
    database: Database,
) -> None:
    for _ in range(5):
        for name in ("ann", "bob"):
            if accounts.get(database, name) is None:
                make(database, name)
            accounts.change(database, name, roles=["admin"])
        starts = threading.Barrier(2)
        refused: list[str] = []

        def demote(
            name: str, starts: threading.Barrier = starts, refused: list[str] = refused
        ) -> None:
            starts.wait()
            try:
                accounts.change(database, name, roles=[])
            except AccountRefused:
                refused.append(name)

        threads = [threading.Thread(target=demote, args=(name,)) for name in ("ann", "bob")]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(refused) == 1
        assert [each.name for each in accounts.list(database) if "admin" in each.roles] == refused


def test_verifying(local: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = make(local, "bob")
    checked: list[bool] = []
    real = passwords.fits

    def fits(password: str, hashed: str | None) -> bool:
        checked.append(hashed is not None)
        return real(password, hashed)

    monkeypatch.setattr(accounts, "fits", fits)
    authenticator: Authenticator = LocalAuthenticator(local)
    assert authenticator.authenticate("BOB", GOOD) == bob
    assert authenticator.authenticate("bob", GOOD + "x") is None
    assert authenticator.authenticate("nobody", GOOD) is None
    assert authenticator.authenticate("bob\x01", "\ud800") is None
    accounts.change(local, "bob", disabled=True)
    assert authenticator.authenticate("bob", GOOD) is None
    # an unknown and a disabled one take a hash as well
    assert checked == [True, True, False, False, False]


def test_a_hash_of_older_parameters_is_renewed(
    local: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(local, "bob")
    before = hash_of(local, "bob")
    accounts.verify(local, "bob", GOOD)
    assert hash_of(local, "bob") == before
    stronger = argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", stronger)
    assert accounts.verify(local, "bob", "wrong password") is None
    assert hash_of(local, "bob") == before
    assert accounts.verify(local, "bob", GOOD) is not None
    assert "t=2" in hash_of(local, "bob")
    assert accounts.verify(local, "bob", GOOD) is not None


def test_a_broken_hash_opens_nothing(local: Database) -> None:
    make(local, "bob")
    with local.write() as connection:
        connection.execute(update(USERS).values(password_hash="nonsense"))
    assert accounts.verify(local, "bob", GOOD) is None


# --- sessions ---


def test_a_session(database: Database) -> None:
    bob = make(database, "bob", "approver")
    token, session = sessions.open(database, bob, 1000, longest_ms=HOUR_MS)
    assert len(token) == 43 and len(session.csrf) == 43 and token != session.csrf
    assert (session.created_ms, session.expires_ms) == (1000, 1000 + HOUR_MS)
    assert sessions.find(database, token, 1001, HOUR_MS) == sessions.Session(
        bob, session.csrf, 1000, 1001, 1000 + HOUR_MS
    )
    with database.read() as connection:
        (row,) = connection.execute(select(SESSIONS))
    assert row.token_sha256 == hashlib.sha256(token.encode()).digest()
    assert token not in repr(row) and session.csrf not in repr(session)
    for wrong in ("", token + "x", token[:-1], "\ud800", row.token_sha256.hex()):
        assert sessions.find(database, wrong, 1001, HOUR_MS) is None
    sessions.close(database, token)
    sessions.close(database, token)
    assert sessions.find(database, token, 1002, HOUR_MS) is None


def test_a_session_ends_unused_and_after_its_longest(database: Database) -> None:
    bob = make(database, "bob")
    idle = 60_000
    token, _ = sessions.open(database, bob, 0, longest_ms=HOUR_MS)
    for now in range(0, HOUR_MS, idle - 1):
        assert sessions.find(database, token, now, idle) is not None
    assert sessions.find(database, token, HOUR_MS, idle) is None
    token, _ = sessions.open(database, bob, 0, longest_ms=HOUR_MS)
    assert sessions.find(database, token, idle, idle) is None
    assert sessions.find(database, token, 1, idle) is None  # it was removed, not only refused


@pytest.mark.parametrize("change", ["roles", "cameras", "password", "disabled", "remove"])
def test_a_change_signs_out(database: Database, change: str) -> None:
    make(database, "ann", "admin")
    bob = make(database, "bob")
    kept, _ = sessions.open(database, accounts.list(database)[0], 0, longest_ms=HOUR_MS)
    tokens = [sessions.open(database, bob, 0, longest_ms=HOUR_MS)[0] for _ in range(2)]
    if change == "remove":
        accounts.remove(database, "bob")
    else:
        values = {"roles": ["admin"], "cameras": {"x"}, "password": GOOD * 2, "disabled": True}
        accounts.change(database, "bob", **{change: values[change]})  # type: ignore[arg-type]
    assert [sessions.find(database, token, 1, HOUR_MS) for token in tokens] == [None, None]
    assert sessions.find(database, kept, 1, HOUR_MS) is not None


def test_signing_out_everywhere(database: Database) -> None:
    bob = make(database, "bob")
    tokens = [sessions.open(database, bob, 0, longest_ms=HOUR_MS)[0] for _ in range(2)]
    sessions.close_all(database, "Bob")
    assert [sessions.find(database, token, 1, HOUR_MS) for token in tokens] == [None, None]


def test_nobody_signs_in_to_what_is_gone(database: Database) -> None:
    make(database, "ann", "admin")
    bob = make(database, "bob")
    accounts.change(database, "bob", disabled=True)
    with pytest.raises(AccountRefused):
        sessions.open(database, bob, 0, longest_ms=HOUR_MS)
    accounts.remove(database, "bob")
    with pytest.raises(AccountRefused):
        sessions.open(database, bob, 0, longest_ms=HOUR_MS)


def test_an_account_disabled_behind_our_back_is_out(database: Database) -> None:
    token, _ = sessions.open(database, make(database, "bob"), 0, longest_ms=HOUR_MS)
    with database.write() as connection:
        connection.execute(text("UPDATE users SET disabled = true"))
    assert sessions.find(database, token, 1, HOUR_MS) is None


def test_sessions_are_bounded_and_pruned(database: Database) -> None:
    bob, ann = make(database, "bob"), make(database, "ann")
    other, _ = sessions.open(database, ann, 0, longest_ms=HOUR_MS)
    tokens = [sessions.open(database, bob, now, longest_ms=HOUR_MS)[0] for now in range(52)]
    alive = [sessions.find(database, token, 52, HOUR_MS) is not None for token in tokens]
    assert alive == [False, False, *[True] * 50]
    assert sessions.find(database, other, 52, HOUR_MS) is not None
    assert sessions.prune(database, 60, 20) == 40  # ann's, and those of 2 to 40
    assert sessions.find(database, other, 52, HOUR_MS) is None
    sessions.open(database, bob, 2 * HOUR_MS, longest_ms=HOUR_MS)  # removes what ran out
    with database.read() as connection:
        assert len(connection.execute(select(SESSIONS)).all()) == 1
