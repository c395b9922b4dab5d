"""Recovery requests: which state follows which, for whom, and who is first."""

from __future__ import annotations

import re
import threading
from typing import get_args

import pytest

from pipeline.errors import ActorRefused, RequestRefused, UsageError
from pipeline.review.store import accounts, people, requests
from pipeline.review.store.accounts import Account
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery
from pipeline.review.store.requests import Decision, Request, State
from support.index import START_MS, facts, interval, put, somebody, span

DAY_MS = 86_400_000


@pytest.fixture
def database(database: Database) -> Database:
    """With two people before the camera lobby, and one before another."""
    put(database, facts(), interval(0, span(1, 0, 1), span(2, 0.5, 2)))
    put(database, facts("/yard", camera="yard"), interval(0, span(1, 0, 1)))
    return database


def add(database: Database, requester: str = "bob", **changed: object) -> Request:
    values: dict[str, object] = {
        "camera": "lobby",
        "from_ms": START_MS,
        "to_ms": START_MS + 2000,
        "case_id": "2026-17",
        "reason": "theft",
        "requester": who(database, requester),
        "person_ids": [each.id for each in everybody(database, "lobby")],
        "created_ms": 1000,
        "expires_ms": 1000 + DAY_MS,
    }
    return requests.add(database, **values | changed)  # type: ignore[arg-type]


def who(database: Database, name: str) -> Account:
    return somebody(database, name, "approver", "requester")


def everybody(database: Database, camera: str) -> tuple[people.Person, ...]:
    return people.find(database, PeopleQuery(cameras=[camera], sort="time")).people


def test_a_request_as_it_is_kept(database: Database) -> None:
    first, second = everybody(database, "lobby")
    made = add(database)
    assert re.fullmatch("R-[A-Z2-7]{8}", made.id)
    assert (made.state, made.camera, made.case_id, made.reason) == (
        *("pending", "lobby", "2026-17", "theft"),
    )
    assert (made.decider, made.decided_ms, made.note, made.release, made.file) == (None,) * 5
    assert [(each.person_id, each.track, each.start_ms, each.end_ms) for each in made.people] == [
        (first.id, 1, START_MS, START_MS + 1000),
        (second.id, 2, START_MS + 500, START_MS + 2000),
    ]
    assert requests.get(database, made.id) == made
    assert requests.get(database, "R-NONE") is None
    named = add(database, request_id=requests.new_id())
    assert named.id != made.id and len({requests.new_id() for _ in range(100)}) == 100


def test_people_that_are_not_there(database: Database) -> None:
    (other,) = everybody(database, "yard")
    for wrong, why in (
        ([], "1 to 200 people"),
        (list(range(201)), "1 to 200 people"),
        ([other.id], f"person {other.id} is not, or no longer, in the recordings of lobby"),
        ([everybody(database, "lobby")[0].id, 999], "person 999"),
    ):
        with pytest.raises(UsageError, match=why):
            add(database, person_ids=wrong)
    assert requests.list(database) == ()


def test_lists(database: Database) -> None:
    old = add(database, created_ms=1)
    mine = add(database, "eve", created_ms=2)
    there = add(
        database,
        camera="yard",
        person_ids=[everybody(database, "yard")[0].id],
        created_ms=3,
    )
    requests.decide(database, old.id, "refused", decider=who(database, "ann"), now_ms=5)

    def ids(**chosen: object) -> list[str]:
        return [each.id for each in requests.list(database, **chosen)]  # type: ignore[arg-type]

    assert ids() == [there.id, mine.id, old.id]
    assert ids(cameras={"lobby"}) == [mine.id, old.id]
    assert ids(requester=who(database, "bob").id) == [there.id, old.id]
    assert ids(state="refused") == [old.id] and ids(state="approved") == []
    assert ids(limit=1) == [there.id] and ids(cameras=[]) == []
    with pytest.raises(UsageError, match="state is one of pending"):
        ids(state="lost")


def bring(database: Database, state: State) -> Request:
    """A request of bob's in that state."""
    made = add(database, expires_ms=5000)
    if state == "expired":
        requests.expire(database, 5000)
    elif state == "withdrawn":
        requests.decide(database, made.id, state, decider=who(database, "bob"), now_ms=2000)
    elif state != "pending":
        requests.decide(database, made.id, state, decider=who(database, "ann"), now_ms=2000)
    found = requests.get(database, made.id)
    assert found is not None and found.state == state
    return found


@pytest.mark.parametrize("decision", get_args(Decision))
@pytest.mark.parametrize("state", get_args(State))
def test_every_step_from_every_state(database: Database, state: State, decision: Decision) -> None:
    before = bring(database, state)
    decider = "bob" if decision == "withdrawn" else "eve"
    if state == "pending":
        after = requests.decide(
            database,
            before.id,
            decision,
            decider=who(database, decider),
            now_ms=3000,
            note="why",
            expires_ms=9000,
            release=b"r",
            file=b"f",
        )
        assert (after.state, after.decider, after.decided_ms) == (decision, decider, 3000)
        assert (after.note, after.release, after.file, after.expires_ms) == (
            "why",
            b"r",
            b"f",
            9000,
        )
        assert after.people == before.people and requests.get(database, before.id) == after
    else:
        with pytest.raises(RequestRefused, match=f"is {state}: only a pending request"):
            requests.decide(
                database, before.id, decision, decider=who(database, decider), now_ms=3000
            )
        assert requests.get(database, before.id) == before


def test_who_may_decide(database: Database) -> None:
    made = add(database)
    for decision, decider, why in (
        ("approved", "bob", "bob's own: a second person decides"),
        ("refused", "bob", "bob's own: a second person decides"),
        ("withdrawn", "ann", "is bob's: only they can withdraw it"),
    ):
        with pytest.raises(RequestRefused, match=why):
            requests.decide(database, made.id, decision, decider=who(database, decider), now_ms=2)  # type: ignore[arg-type]
    with pytest.raises(RequestRefused, match="there is no request R-NONE"):
        requests.decide(database, "R-NONE", "approved", decider=who(database, "ann"), now_ms=2)
    assert requests.get(database, made.id) == made


@pytest.mark.parametrize("lost", ["removed", "disabled", "role", "camera"])
def test_who_decides_may_do_so_still(database: Database, lost: str) -> None:
    made = add(database)
    ann = who(database, "ann")
    if lost == "removed":
        accounts.remove(database, "ann")
    elif lost == "disabled":
        accounts.change(database, "ann", disabled=True)
    elif lost == "role":
        accounts.change(database, "ann", roles=["requester"])
    else:
        accounts.change(database, "ann", cameras={"yard"})
    with pytest.raises(ActorRefused):
        requests.decide(database, made.id, "approved", decider=ann, now_ms=2)
    assert requests.get(database, made.id) == made


def test_who_asks_may_do_so_still(database: Database) -> None:
    who(database, "bob")
    accounts.change(database, "bob", roles=["approver"])
    with pytest.raises(ActorRefused, match="role requester"):
        add(database)
    assert requests.list(database) == ()


def test_a_name_given_anew_is_somebody_else(database: Database) -> None:
    made = add(database, created_ms=7)
    old = who(database, "bob")
    accounts.remove(database, "bob")
    new = who(database, "bob")
    assert requests.list(database, requester=new.id) == ()
    assert requests.list(database, requester=old.id) == (made,)
    assert [requests.count_since(database, one.id, 7) for one in (old, new)] == [1, 0]
    assert requests.count_since(database, old.id, 8) == 0
    with pytest.raises(RequestRefused, match="only they can withdraw it"):
        requests.decide(database, made.id, "withdrawn", decider=new, now_ms=8)
    with pytest.raises(RequestRefused, match="a second person decides"):
        requests.decide(database, made.id, "approved", decider=new, now_ms=8)


def test_time_ends_what_waits(database: Database) -> None:
    late = add(database, expires_ms=3000)
    approved = add(database, expires_ms=3000)
    refused = add(database, expires_ms=3000)
    later = add(database, expires_ms=9000)
    requests.decide(
        database, approved.id, "approved", decider=who(database, "ann"), now_ms=2, expires_ms=4000
    )
    requests.decide(database, refused.id, "refused", decider=who(database, "ann"), now_ms=2)
    assert requests.due(database, 2999) == ()
    with pytest.raises(RequestRefused, match="has expired: it must be made again"):
        requests.decide(database, late.id, "approved", decider=who(database, "ann"), now_ms=3000)
    assert requests.due(database, 3000) == (late.id,)
    assert requests.due(database, 4000) == tuple(sorted([late.id, approved.id]))
    assert requests.expire(database, 4000, only=[approved.id, later.id]) == (approved.id,)
    assert requests.expire(database, 4000) == (late.id,)
    assert requests.expire(database, 4000) == () and requests.due(database, 4000) == ()
    ended = requests.get(database, approved.id)
    assert ended is not None and (ended.state, ended.decider) == ("expired", "ann")
    left = requests.get(database, refused.id)
    assert left is not None and left.state == "refused"


def test_of_many_who_decide_one_is_first(database: Database) -> None:
    for _ in range(4):
        made = add(database)
        starts = threading.Barrier(4)
        approvers = [who(database, f"user{number}") for number in range(4)]
        done: list[str] = []

        def decide(
            number: int,
            made: Request = made,
            starts: threading.Barrier = starts,
            done: list[str] = done,
            approvers: list[Account] = approvers,
        ) -> None:
            decision: Decision = "approved" if number % 2 else "refused"
            starts.wait()
            try:
                requests.decide(database, made.id, decision, decider=approvers[number], now_ms=2000)
                done.append(f"user{number}")
            except RequestRefused as error:
                assert "only a pending request" in str(error)

        threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        found = requests.get(database, made.id)
        assert found is not None and [found.decider] == done


def test_secrets_stay_out_of_the_repr(database: Database) -> None:
    made = add(database)
    done = requests.decide(
        database,
        made.id,
        "approved",
        decider=who(database, "ann"),
        now_ms=2,
        release=b"RELEASE",
        file=b"SIGNED",
    )
    assert "RELEASE" not in repr(done) and "SIGNED" not in repr(done)
