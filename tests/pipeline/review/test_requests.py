"""Recovery requests: who may do what, in which state, and what the signed file says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from pipeline.errors import ActorRefused, RequestRefused, StoreError, VaultError
from pipeline.recover.clip_records import read_clip
from pipeline.review.media.export import Exports
from pipeline.review.plan import ConsolePlan
from pipeline.review.requests import MOST_FETCHES_A_DAY, MOST_SPAN_MS, NewRequest, RequestFlow
from pipeline.review.selection import select_epochs
from pipeline.review.store import recordings
from pipeline.review.store.accounts import Account
from pipeline.review.store.database import Database
from pipeline.review.store.requests import Request, RequestedPerson
from pipeline.review.store.tables import USERS
from pipeline.settings import ConsoleSettings
from pipeline.vault import audit
from pipeline.vault.age_header import MAGIC
from pipeline.vault.request_file import read_request, utc_text
from support.index import START_MS, facts, interval, put, span
from support.recorded import (
    ADMIN,
    APPROVER,
    BOTH,
    CAMERA,
    ELSEWHERE,
    FRAMES,
    GUARD,
    LATER_MS,
    LENGTH_MS,
    OTHER,
    SESSIONS,
    Recorded,
    an_account,
    employ,
    index,
    record,
    the_people,
)
from support.requests import a_release, console_key

NOW_MS = START_MS + 3_600_000
EPOCH_MS = FRAMES * 40


class Clock:
    """Stands still until it is set."""

    ms = NOW_MS

    def __call__(self) -> float:
        return self.ms / 1000


@dataclass(frozen=True)
class Office:
    """A console without a server."""

    flow: RequestFlow
    database: Database
    clock: Clock
    recorded: Recorded
    plan: ConsolePlan
    ids: tuple[int, int, int]  # of the people

    def new(self, **changes: Any) -> NewRequest:
        asked = NewRequest(
            camera=CAMERA,
            from_ms=START_MS,
            to_ms=START_MS + LENGTH_MS,
            people=(self.ids[0],),
            case="17/26",
            reason="theft, hall 3",
        )
        return replace(asked, **changes)

    def asked(self, account: Account = GUARD, **changes: Any) -> Request:
        return self.flow.create(account, self.new(**changes))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("site") / "recordings")


@pytest.fixture
def office(recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    database = Database(None, tmp_path / "state")
    database.migrate()
    index(database, recorded)
    employ(database)
    first, second, later = (person.id for person in the_people(database))
    plan = ConsolePlan(
        site="North",
        settings=ConsoleSettings(request_expiry=1000.0),
        state_dir=tmp_path / "state",
        cameras=(),
        folders=(recorded.folder,),
    )
    clock = Clock()
    flow = RequestFlow(database, plan, console_key(), now=clock)
    yield Office(flow, database, clock, recorded, plan, (first, second, later))
    database.close()


def entries() -> list[dict[str, Any]]:
    path = audit.audit_path()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# --- asking ---


def test_a_request_waits_and_is_in_the_log(office: Office) -> None:
    made = office.asked(people=office.ids[:2], case=" 17/26 ", reason="theft,\n hall 3")
    assert (made.state, made.requester, made.case_id) == ("pending", "guard", "17/26")
    assert made.reason == "theft, hall 3"
    assert (made.created_ms, made.expires_ms) == (NOW_MS, NOW_MS + 1_000_000)
    assert [(one.session, one.track) for one in made.people] == [(SESSIONS[0], 1), (SESSIONS[0], 2)]
    (entry,) = entries()
    del entry["before"], entry["signature"], entry["time"]
    assert entry["signer"].startswith("ssh-ed25519 ")
    assert entry | {"signer": ""} == {
        "action": "request",
        "request": made.id,
        "site": "North",
        "camera": CAMERA,
        "from": utc_text(START_MS),
        "to": utc_text(START_MS + LENGTH_MS),
        "tracks": [1, 2],
        "case": "17/26",
        "reason": "theft, hall 3",
        "user": "guard",
        "n": 1,
        "signer": "",
    }
    assert audit.verify(audit.audit_path(), signers=[console_key().public]) == 1


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"camera": "yard"}, "no person 1 in the recordings of yard"),
        ({"from_ms": START_MS + LENGTH_MS}, "end after it begins"),
        ({"from_ms": START_MS - MOST_SPAN_MS}, "an hour at most"),
        ({"from_ms": -1, "to_ms": 5}, "end after it begins"),
        ({"people": ()}, "1 to 32 people"),
        ({"people": tuple(range(1, 34))}, "1 to 32 people"),
        ({"people": (1, 999)}, "no person 999"),
        ({"from_ms": LATER_MS, "to_ms": LATER_MS + 10}, "person 1 is not there"),
        ({"case": ""}, "1 to 60"),
        ({"case": "x" * 61}, "1 to 60"),
        ({"case": "a\x00b"}, "printable"),
        ({"reason": " a  "}, "3 to 1000"),
        ({"reason": "x" * 1001}, "3 to 1000"),
        ({"reason": "a\u202ebc"}, "printable"),
    ],
)
def test_what_may_not_be_asked(changes: dict[str, Any], rule: str, office: Office) -> None:
    assert office.ids[0] == 1
    with pytest.raises(RequestRefused, match=rule):
        office.asked(**changes)
    assert entries() == [] and office.flow.listed(ADMIN) == ()


@pytest.mark.parametrize("account", [APPROVER, ADMIN, an_account("x"), ELSEWHERE])
def test_who_may_not_ask(account: Account, office: Office) -> None:
    with pytest.raises(RequestRefused):
        office.asked(account)
    assert entries() == []


def test_what_was_not_sealed_is_refused(office: Office) -> None:
    index(office.database, office.recorded, evidence=False)
    with pytest.raises(RequestRefused, match="hidden for good"):
        office.asked()


def test_nobody_fills_the_log_by_asking(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.review.requests.MOST_WAITING", 2)
    first = office.asked()
    office.asked()
    with pytest.raises(RequestRefused, match="wait already"):
        office.asked()
    office.asked(OTHER)
    office.flow.withdraw(GUARD, first.id)
    office.asked()


def test_nobody_fills_the_log_by_asking_and_withdrawing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.review.requests.MOST_A_DAY", 3)
    for _ in range(3):
        office.flow.withdraw(GUARD, office.asked().id)
    count = len(entries())
    with pytest.raises(RequestRefused, match="3 requests within 24 hours: try again tomorrow"):
        office.asked()
    assert len(entries()) == count
    office.asked(OTHER)
    office.clock.ms += 86_400_001
    office.asked()


def test_nobody_fills_the_log_by_fetching(office: Office) -> None:
    asked = office.asked()
    office.flow.approve(APPROVER, asked.id)
    for _ in range(MOST_FETCHES_A_DAY):
        office.flow.count_fetch(GUARD)
    count = len(entries())
    with pytest.raises(RequestRefused, match="within 24 hours: try again tomorrow"):
        office.flow.file(GUARD, asked.id)
    assert len(entries()) == count
    assert office.flow.file(APPROVER, asked.id)


def test_texts_are_bounded_as_the_log_writes_them(office: Office) -> None:
    made = office.asked(reason="\u6f22" * 1000)
    with pytest.raises(RequestRefused, match="6000 bytes in the log"):
        office.asked(reason="\U0001f600" * 501)
    with pytest.raises(RequestRefused, match="6000 bytes in the log"):
        office.flow.refuse(APPROVER, made.id, note="\U0001f600" * 501)
    lines = audit.audit_path().read_bytes().splitlines()
    assert len(lines) == 1 and 6000 < len(lines[0]) < 7500


# --- deciding ---


def test_an_approval_is_a_signed_file_of_exactly_those_epochs(office: Office) -> None:
    asked = office.asked(to_ms=START_MS + EPOCH_MS - 1)
    office.clock.ms += 5000
    done = office.flow.approve(APPROVER, asked.id, note=" it is\nright ")
    assert (done.state, done.decider, done.note) == ("approved", "milo", "it is right")
    assert done.decided_ms == NOW_MS + 5000 and done.expires_ms == NOW_MS + 1_005_000
    data = office.flow.file(GUARD, asked.id)
    assert data == done.file
    request, signer = read_request(data)
    assert signer == console_key().public
    assert request.selection == {office.recorded.epochs[0]: frozenset({1})}
    assert (request.site, request.camera, request.case) == ("North", CAMERA, "17/26")
    assert (request.requested_by, request.approved_by) == ("guard", "milo")
    assert request.requested_utc == utc_text(NOW_MS)
    assert request.approved_utc == utc_text(NOW_MS + 5000)
    assert request.expires_utc == utc_text(NOW_MS + 1_005_000)
    assert request.to_utc == utc_text(START_MS + EPOCH_MS - 1) and not request.is_lock
    assert [entry["action"] for entry in entries()] == ["request", "approve", "request-file"]
    assert (entries()[1]["approval"], entries()[1]["epochs"]) == ("advice", 1)
    assert entries()[1]["user"] == "milo" and entries()[2]["user"] == "guard"


def test_the_same_number_in_another_session_is_left_out(office: Office) -> None:
    """The span covers both sessions."""
    asked = office.asked(to_ms=LATER_MS + LENGTH_MS, people=(office.ids[1], office.ids[2]))
    file = office.flow.approve(APPROVER, asked.id).file
    assert file is not None
    two, one = frozenset({2}), frozenset({1})
    assert list(read_request(file)[0].selection.items()) == sorted(
        zip(office.recorded.epochs, (two, two, one, one), strict=True)
    )


def test_a_release_goes_along(office: Office) -> None:
    release = a_release()
    done = office.flow.approve(APPROVER, office.asked().id, release=release)
    assert done.release == release and done.file is not None
    assert read_request(done.file)[0].releases == (release,)
    assert entries()[1]["approval"] == "with a key release"


def test_what_is_no_release_is_refused(office: Office) -> None:
    asked = office.asked()
    for release in (b"", b"AGE-SECRET-KEY-1", MAGIC + b"sealed", a_release() + bytes(2**24)):
        with pytest.raises(RequestRefused, match="release"):
            office.flow.approve(APPROVER, asked.id, release=release)
    assert office.flow.get(GUARD, asked.id) == asked and len(entries()) == 1


Step = Callable[[RequestFlow, Account, str], object]
STEPS: dict[str, Step] = {
    "approve": lambda flow, account, id: flow.approve(account, id),
    "refuse": lambda flow, account, id: flow.refuse(account, id, note="no"),
    "withdraw": lambda flow, account, id: flow.withdraw(account, id),
}


@pytest.mark.parametrize("step", ["approve", "refuse"])
@pytest.mark.parametrize(
    ("account", "rule"),
    [
        (BOTH, "is your own: a second person decides"),
        (ADMIN, "role approver"),
        (GUARD, "there is no request"),
        (ELSEWHERE, "there is no request"),
    ],
)
def test_who_may_not_decide(step: str, account: Account, rule: str, office: Office) -> None:
    asked = office.asked(BOTH)
    with pytest.raises(RequestRefused, match=rule):
        STEPS[step](office.flow, account, asked.id)
    assert office.flow.get(APPROVER, asked.id) == asked
    assert [entry["action"] for entry in entries()] == ["request"]


def test_only_who_asked_withdraws(office: Office) -> None:
    asked = office.asked()
    for account in (APPROVER, OTHER):
        with pytest.raises(RequestRefused):
            office.flow.withdraw(account, asked.id)
    assert office.flow.withdraw(GUARD, asked.id).state == "withdrawn"
    assert [entry["action"] for entry in entries()] == ["request", "withdraw"]


@pytest.mark.parametrize("first", sorted(STEPS))
def test_what_is_decided_stays_decided(first: str, office: Office) -> None:
    asked = office.asked()
    decider = GUARD if first == "withdraw" else APPROVER
    STEPS[first](office.flow, decider, asked.id)
    count = len(entries())
    for name, step in STEPS.items():
        with pytest.raises(RequestRefused, match="only a pending request"):
            step(office.flow, GUARD if name == "withdraw" else APPROVER, asked.id)
    assert len(entries()) == count


@pytest.mark.parametrize("step", sorted(STEPS))
def test_without_a_log_nothing_happens(step: str, office: Office) -> None:
    asked = office.asked()
    log = audit.audit_path()
    before = log.read_bytes()
    log.unlink()
    log.mkdir()
    decider = GUARD if step == "withdraw" else APPROVER
    with pytest.raises(VaultError, match="audit log"):
        STEPS[step](office.flow, decider, asked.id)
    with pytest.raises(VaultError, match="audit log"):
        office.asked()
    assert office.flow.listed(APPROVER) == (asked,)
    log.rmdir()
    log.write_bytes(before)
    STEPS[step](office.flow, decider, asked.id)


def test_the_log_comes_before_the_step(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = office.asked()
    seen: list[str] = []
    append = audit.append

    def noting(*given: Any) -> Any:
        found = office.flow.get(APPROVER, asked.id)
        assert found is not None
        seen.append(f"{given[1]['action']} {found.state}")
        return append(*given)

    monkeypatch.setattr(audit, "append", noting)
    office.flow.approve(APPROVER, asked.id)
    office.clock.ms += 1_000_001
    office.flow.expire_due()
    assert seen == ["approve pending", "expire approved"]


@pytest.mark.parametrize("loser", sorted(STEPS))
def test_whoever_comes_second_is_in_the_log_as_such(
    loser: str, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the entry and the step somebody else decides."""
    asked = office.asked()
    append, first = audit.append, ["withdraw" if loser != "withdraw" else "refuse"]

    def overtaken(*given: Any) -> Any:
        head = append(*given)
        if given[1]["action"] == loser and first:
            winner = first.pop()
            STEPS[winner](office.flow, GUARD if winner == "withdraw" else APPROVER, asked.id)
        return head

    monkeypatch.setattr(audit, "append", overtaken)
    with pytest.raises(RequestRefused, match="only a pending request"):
        STEPS[loser](office.flow, GUARD if loser == "withdraw" else APPROVER, asked.id)
    winner = "refuse" if loser == "withdraw" else "withdraw"
    told = entries()[1:]
    assert [one["action"] for one in told] == [loser, winner, f"{loser} not done"]
    assert {one["request"] for one in told} == {asked.id}
    assert told[0]["user"] == told[2]["user"] and "only a pending request" in told[2]["why"]


@pytest.mark.parametrize("step", ["request", *sorted(STEPS)])
def test_who_was_removed_since_does_nothing(step: str, office: Office) -> None:
    asked = office.asked()
    actor = GUARD if step in ("request", "withdraw") else APPROVER
    with office.database.write() as connection:
        connection.execute(delete(USERS).where(USERS.c.id == actor.id))
    with pytest.raises(ActorRefused, match="removed or disabled meanwhile"):
        if step == "request":
            office.asked()
        else:
            STEPS[step](office.flow, actor, asked.id)
    assert office.flow.listed(ADMIN) == (asked,)
    assert [one["action"] for one in entries()] == ["request", step, f"{step} not done"]


def test_a_lost_database_leaves_it_open_whether_it_was_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = office.asked()

    def fails(*_: Any, **__: Any) -> Any:
        raise StoreError("secret-host is down")

    monkeypatch.setattr("pipeline.review.store.requests.decide", fails)
    with pytest.raises(StoreError):
        office.flow.refuse(APPROVER, asked.id, note="no")
    assert [one["action"] for one in entries()[1:]] == ["refuse", "refuse perhaps not done"]
    assert entries()[2]["why"] == "the database failed"


# --- time ---


def test_requests_expire(office: Office) -> None:
    waits, approved = office.asked(), office.asked(people=(office.ids[1],))
    office.clock.ms += 500_000
    office.flow.approve(APPROVER, approved.id)
    assert office.flow.expire_due() == ()
    office.clock.ms = waits.expires_ms
    with pytest.raises(RequestRefused, match="expired at"):
        office.flow.approve(APPROVER, waits.id)
    assert office.flow.expire_due() == (waits.id,)
    assert office.flow.expire_due() == ()
    office.clock.ms += 500_000
    with pytest.raises(RequestRefused, match="expired at"):
        office.flow.file(GUARD, approved.id)
    assert office.flow.expire_due() == (approved.id,)
    told = [(entry["action"], entry["request"], entry["user"]) for entry in entries()[3:]]
    assert told == [("expire", waits.id, None), ("expire", approved.id, None)]
    with pytest.raises(RequestRefused, match="is expired"):
        office.flow.file(GUARD, approved.id)


# --- seeing ---


def test_who_sees_which(office: Office) -> None:
    mine, others = office.asked(), office.asked(OTHER)
    ids = {mine.id, others.id}

    def seen(account: Account) -> set[str]:
        listed = {one.id for one in office.flow.listed(account)}
        assert listed == {id for id in ids if office.flow.get(account, id) is not None}
        return listed

    assert seen(GUARD) == {mine.id} and seen(OTHER) == {others.id}
    assert seen(APPROVER) == seen(ADMIN) == ids
    assert seen(ELSEWHERE) == seen(an_account("x")) == set()
    assert seen(replace(GUARD, cameras=frozenset({"yard"}))) == set()
    office.flow.refuse(APPROVER, mine.id)
    assert [one.id for one in office.flow.listed(ADMIN, "refused")] == [mine.id]


def test_what_may_be_done_is_what_is_done(office: Office) -> None:
    def may(account: Account) -> tuple[str, ...]:
        found = office.flow.get(APPROVER, asked.id)
        assert found is not None
        return office.flow.may(account, found)

    asked = office.asked(BOTH)
    assert may(APPROVER) == ("approve", "refuse", "clip")
    assert may(BOTH) == ("withdraw", "clip") and may(ADMIN) == ("clip",)
    assert may(GUARD) == may(ELSEWHERE) == ()
    office.flow.approve(APPROVER, asked.id)
    assert may(APPROVER) == may(BOTH) == may(ADMIN) == ("file", "clip")
    with pytest.raises(RequestRefused):
        office.flow.file(GUARD, asked.id)
    office.clock.ms += 1_000_000
    assert may(APPROVER) == may(BOTH) == ()
    other = office.asked(BOTH)
    office.flow.refuse(APPROVER, other.id)
    asked = other
    assert may(APPROVER) == may(BOTH) == ()


def test_only_an_approved_one_has_a_file(office: Office) -> None:
    asked = office.asked()
    with pytest.raises(RequestRefused, match="only an approved one has a file"):
        office.flow.file(GUARD, asked.id)
    assert len(entries()) == 1


def test_its_clip(office: Office, tmp_path: Path) -> None:
    """Also while it waits; the selected epochs are in it."""
    exports = Exports(tmp_path / "state")
    asked = office.asked(from_ms=START_MS + EPOCH_MS, to_ms=START_MS + LENGTH_MS)
    clip = office.flow.clip(GUARD, asked.id, exports)
    assert clip.owner == "1:guard" and clip.path.is_file()
    for to_ms, count in ((EPOCH_MS - 1, 1), (EPOCH_MS, 2), (EPOCH_MS + 1, 2)):
        other = office.asked(to_ms=START_MS + to_ms)
        file = office.flow.approve(APPROVER, other.id).file
        assert file is not None
        found = read_clip(office.flow.clip(GUARD, other.id, exports).path).epochs
        assert [each.record.epoch_id for each in found] == list(office.recorded.epochs[:count])
        assert read_request(file)[0].selection.keys() == set(office.recorded.epochs[:count])
    office.flow.refuse(APPROVER, asked.id)
    with pytest.raises(RequestRefused, match="no longer for you"):
        office.flow.clip(GUARD, asked.id, exports)


# --- which epochs ---


def person(track: int, session: str = SESSIONS[0]) -> RequestedPerson:
    return RequestedPerson(None, CAMERA, session, track, START_MS, START_MS + LENGTH_MS)


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "epochs"),
    [
        (0, EPOCH_MS - 1, (0,)),
        (0, EPOCH_MS, (0, 1)),  # its first picture is in it
        (EPOCH_MS - 1, EPOCH_MS, (0, 1)),
        (EPOCH_MS, LENGTH_MS, (1,)),
        (-5000, 9000, (0, 1)),
    ],
)
def test_epochs_overlap_the_span(
    from_ms: int, to_ms: int, epochs: tuple[int, ...], office: Office
) -> None:
    segments = recordings.segments(office.database, CAMERA, 0, LATER_MS * 2)
    found = select_epochs(segments, [person(1)], START_MS + from_ms, START_MS + to_ms)
    assert found == {office.recorded.epochs[at]: frozenset({1}) for at in epochs}


def test_whoever_is_not_in_the_records_is_refused(office: Office) -> None:
    segments = recordings.segments(office.database, CAMERA, 0, LATER_MS * 2)
    for people in ([person(3)], [person(1), person(2, SESSIONS[1])], [person(1, "ef" * 16)]):
        with pytest.raises(RequestRefused, match="nothing is sealed of track"):
            select_epochs(segments, people, START_MS, LATER_MS + LENGTH_MS)


def test_a_recording_that_still_grows(office: Office, tmp_path: Path) -> None:
    """As far as it is written; in the middle of a fragment."""
    whole = office.recorded.first.read_bytes()
    second = whole.rindex(b"moof") - 4
    for size, epochs in ((second, 1), (second + 200, 1), (len(whole), 2)):
        path = tmp_path / f"{size}.mp4"
        path.write_bytes(whole[:size])
        known = replace(
            facts(str(path), camera=CAMERA, seconds=0.3, session=SESSIONS[0]), growing=True
        )
        grown = put(office.database, known, interval(0.0, span(1, 0.0, 0.3)))
        found = select_epochs([grown], [person(1)], START_MS, START_MS + LENGTH_MS)
        assert list(found) == list(office.recorded.epochs[:epochs]), size


def test_one_that_only_begins_to_grow_counts_for_nothing(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "new.mp4"
    path.write_bytes(b"")
    first, _ = recordings.segments(office.database, CAMERA, 0, LATER_MS * 2)
    begun = replace(first, path=str(path), growing=True)
    found = select_epochs([first, begun], [person(1)], START_MS, START_MS + LENGTH_MS)
    assert list(found) == list(office.recorded.epochs[:2])
    with pytest.raises(RequestRefused, match="cannot be read"):
        select_epochs([first, replace(begun, growing=False)], [person(1)], START_MS, LATER_MS)


def test_a_recording_that_was_deleted(office: Office, tmp_path: Path) -> None:
    copy = str(shutil.copy(office.recorded.first, tmp_path))
    known = facts(copy, camera=CAMERA, start_ms=START_MS + 60_000, session="ef" * 16)
    put(office.database, known, interval(0.0, span(1, 0.0, 0.6)))
    last = the_people(office.database)[-1]
    asked = office.asked(
        people=(last.id,), from_ms=START_MS + 60_000, to_ms=START_MS + 60_000 + LENGTH_MS
    )
    Path(copy).unlink()
    with pytest.raises(RequestRefused, match="cannot be read"):
        office.flow.approve(APPROVER, asked.id)
    for segment in recordings.segments(office.database, CAMERA, START_MS + 50_000, LATER_MS * 2):
        recordings.drop_segment(office.database, segment.id)
    with pytest.raises(RequestRefused, match="its recording is gone"):
        office.flow.approve(APPROVER, asked.id)
    assert len(entries()) == 1


def test_files_that_say_no_session(office: Office) -> None:
    """Two sessions joined: the number belongs to the one that is named, by its first epoch."""
    joined = office.recorded.folder.parent / "joined.mp4"
    first, second = office.recorded.sealed
    packets = list(first.clip.packets)
    first.clip.packets += second.clip.packets
    first.clip.write(joined)
    first.clip.packets[:] = packets
    epochs = office.recorded.epochs
    name = f"clip:{epochs[0].hex()}"
    known = facts(str(joined), camera=CAMERA, seconds=2 * LENGTH_MS / 1000, session=name)
    segment = put(office.database, known, interval(0.0, span(1, 0.0, 1.2)))
    window = START_MS, START_MS + 2 * LENGTH_MS
    assert list(select_epochs([segment], [person(1, name)], *window)) == list(epochs[:2])
    other = f"clip:{epochs[2].hex()}"
    assert list(select_epochs([segment], [person(1, other)], *window)) == list(epochs[2:])
    for none in (f"clip:{epochs[1].hex()}", SESSIONS[0], "clip:"):
        with pytest.raises(RequestRefused):
            select_epochs([segment], [person(1, none)], *window)
