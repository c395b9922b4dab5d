"""Recovery requests over HTTP: two people, and what each may see and do."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.review.store import accounts
from pipeline.vault.audit import audit_path, check
from pipeline.vault.request_file import read_request
from support.console import START_MS, Client, Console, running_console


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def clients(console: Console) -> Iterator[dict[str, Client]]:
    with console.database() as database:
        accounts.create(
            database, "both", "both passwords", roles=("requester", "approver"), now_ms=1
        )
    names = ("guard", "chief", "root", "looker", "both")
    made = {name: console.signed_in(name) for name in names}
    yield made
    for client in made.values():
        client.close()


def asked(client: Client, **changes: object) -> dict[str, Any]:
    people = client.get("/api/people?cameras=lobby&sort=time").json()["people"]
    body = {
        "camera": "lobby",
        "from_ms": START_MS,
        "to_ms": START_MS + 3000,
        "people": [people[0]["id"]],
        "case": "17/26",
        "reason": "theft in the hall\r\nof a bicycle",
        **changes,
    }
    answer = client.post("/api/requests", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_asking_and_who_sees_it(clients: dict[str, Client]) -> None:
    made = asked(clients["guard"])
    assert (
        made.items()
        >= {
            "state": "pending",
            "camera": "lobby",
            "case": "17/26",
            "reason": "theft in the hall of a bicycle",
            "requester": "guard",
            "decider": None,
            "is_lock": False,
            "may": ["withdraw", "clip"],
        }.items()
    )
    assert [one["track"] for one in made["people"]] == [1]
    url = f"/api/requests/{made['id']}"
    seen = {name: client.get(url).status_code for name, client in clients.items()}
    assert seen == {"guard": 200, "chief": 200, "root": 200, "looker": 404, "both": 200}
    assert clients["chief"].get(url).json()["may"] == ["approve", "refuse", "clip"]
    listed = {
        name: [one["id"] for one in client.get("/api/requests").json()["requests"]]
        for name, client in clients.items()
    }
    assert listed["looker"] == [] and made["id"] in listed["guard"]
    assert clients["chief"].get("/api/requests?state=refused").json() == {"requests": []}


def test_nobody_decides_about_their_own(clients: dict[str, Client]) -> None:
    made = asked(clients["both"])
    own = clients["both"].post(f"/api/requests/{made['id']}/approve", json={"note": ""})
    assert own.status_code == 409 and "second person" in own.json()["error"]
    withdrawn = clients["both"].post(f"/api/requests/{made['id']}/withdraw")
    assert withdrawn.json()["state"] == "withdrawn"
    late = clients["chief"].post(f"/api/requests/{made['id']}/refuse", json={"note": "late"})
    assert late.status_code == 409


def test_refusing(clients: dict[str, Client]) -> None:
    made = asked(clients["guard"])
    refused = clients["chief"].post(f"/api/requests/{made['id']}/refuse", json={"note": "no case"})
    assert (
        refused.json().items()
        >= {
            "state": "refused",
            "decider": "chief",
            "note": "no case",
            "may": [],
        }.items()
    )
    assert clients["guard"].get(f"/api/requests/{made['id']}/file").status_code == 409
    assert clients["guard"].get(f"/api/requests/{made['id']}/clip").status_code == 409


def test_what_was_never_sealed_cannot_be_approved(clients: dict[str, Client]) -> None:
    """These recordings say that they have evidence, and have none."""
    made = asked(clients["guard"])
    answer = clients["chief"].post(f"/api/requests/{made['id']}/approve", json={"note": ""})
    assert answer.status_code == 409
    assert clients["guard"].get(f"/api/requests/{made['id']}").json()["state"] == "pending"


def test_an_approved_request_is_a_signed_file(
    console: Console, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = asked(clients["guard"])
    epochs = {bytes(16): frozenset({1})}
    monkeypatch.setattr("pipeline.review.requests.select_epochs", lambda *_: epochs)
    url = f"/api/requests/{made['id']}"
    no_release = {"note": "", "release": base64.b64encode(b"no package").decode()}
    assert clients["chief"].post(f"{url}/approve", json=no_release).status_code == 409
    garbage = {"note": "", "release": "no base64!"}
    bad = clients["chief"].post(f"{url}/approve", json=garbage)
    assert (bad.status_code, bad.json()) == (422, {"error": "release: is no base64"})
    done = clients["chief"].post(f"{url}/approve", json={"note": "for the court"})
    assert done.status_code == 200, done.text
    assert (
        done.json().items() >= {"state": "approved", "is_lock": False, "decider": "chief"}.items()
    )

    answer = clients["guard"].get(f"{url}/file")
    assert answer.headers["content-type"] == "application/json"
    name = f"{made['id']}.bautareq"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    request, signer = read_request(answer.content)
    assert (request.id, request.approved_by, request.selection) == (made["id"], "chief", epochs)
    report = check(audit_path(), signers=[signer])
    assert report.faults == (), "the console signs the log with the same key"
    assert clients["looker"].get(f"{url}/file").status_code == 403
    assert clients["root"].get(f"{url}/file").status_code == 200
    actions = [line.fields["action"] for line in report.lines if line is not None]
    assert actions[-1] == "request-file" and "approve" in actions


def test_the_clip_of_a_request(clients: dict[str, Client]) -> None:
    made = asked(clients["guard"])
    for name in ("guard", "chief", "root"):
        answer = clients[name].get(f"/api/requests/{made['id']}/clip")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.content[4:8] == b"ftyp"
    assert clients["looker"].get(f"/api/requests/{made['id']}/clip").status_code == 403
    report = check(audit_path())
    last = report.lines[-1]
    assert last is not None
    assert (last.fields["action"], last.fields["user"], last.fields["request"]) == (
        "export",
        "root",
        made["id"],
    )


def test_no_step_without_its_entry_in_the_log(
    clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = asked(clients["guard"])
    url = f"/api/requests/{made['id']}"
    log = audit_path().read_bytes()
    audit_path().write_bytes(log + b"damaged\n")
    try:
        refused = clients["chief"].post(f"{url}/refuse", json={"note": ""})
        assert refused.status_code == 503
        assert str(audit_path()) not in refused.text
        assert clients["guard"].post(f"{url}/withdraw").status_code == 503
        assert clients["guard"].get(f"{url}/clip").status_code == 503
    finally:
        audit_path().write_bytes(log)
    assert clients["guard"].get(url).json()["state"] == "pending"


def test_rules_are_said(clients: dict[str, Client]) -> None:
    people = clients["guard"].get("/api/people?sort=time").json()["people"]
    by_camera = {one["camera"]: one["id"] for one in people}
    body = {"camera": "lobby", "from_ms": START_MS, "to_ms": START_MS + 3000, "case": "1"}

    def status(**changes: object) -> int:
        full = {**body, "people": [by_camera["lobby"]], "reason": "theft", **changes}
        return clients["guard"].post("/api/requests", json=full).status_code

    assert status(camera="yard", people=[by_camera["yard"]]) == 409, "nothing was sealed there"
    assert status(people=[by_camera["yard"]]) == 409, "of another camera"
    assert status(camera="vault") == 404
    assert status(to_ms=START_MS) == 409
    assert status(people=[]) == 422
    assert status(case="") == 422
    assert status(reason="x" * 2000) == 422
    assert status(reason="a\x1b[31m") == 422
