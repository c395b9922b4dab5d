"""Rights that end while something is under way, names that were given anew, and who is local."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from pipeline.review import requests as flow
from pipeline.review.api.errors import ApiError
from pipeline.review.api.security import _read_body
from pipeline.review.limits import LoginLimiter
from pipeline.review.plan import DemoAccount
from pipeline.review.store import accounts
from pipeline.vault import audit
from pipeline.vault.audit import audit_path, check
from support.console import PEOPLE, START_MS, Client, Console, a_fact, running_console

WAIT_SECONDS = 20.0
SPAN = {"camera": "lobby", "from_ms": START_MS, "to_ms": START_MS + 1000}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def root(console: Console) -> Iterator[Client]:
    with console.signed_in("root") as client:
        yield client


def entries() -> list[dict[str, Any]]:
    report = check(audit_path())
    assert report.faults == ()
    return [dict(line.fields) for line in report.lines if line is not None]


def hire(console: Console, name: str, *roles: str, cameras: tuple[str, ...] | None = None) -> None:
    with console.database() as database:
        accounts.create(
            database, name, f"the password of {name}", roles=roles, cameras=cameras, now_ms=1
        )


def asked(client: Client) -> str:
    people = client.get("/api/people?cameras=lobby&sort=time").json()["people"]
    body = {**SPAN, "people": [people[0]["id"]], "case": "17/26", "reason": "theft"}
    answer = client.post("/api/requests", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


# --- while something is under way ---


def half_sent(console: Console, client: Client, body: Mapping[str, Any]) -> socket.socket:
    """A new account of which the last byte is not sent yet."""
    data = json.dumps(body).encode()
    lines = [
        "POST /api/users HTTP/1.1",
        f"Host: 127.0.0.1:{console.port}",
        f"Cookie: bauta_session={client.cookies['bauta_session']}",
        f"X-CSRF-Token: {client.headers['X-CSRF-Token']}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
    ]
    sender = socket.create_connection(("127.0.0.1", console.port), timeout=WAIT_SECONDS)
    sender.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data[:-1])
    return sender


@pytest.mark.parametrize("step", ["remove", "demote"])
def test_a_body_that_comes_late_is_of_nobody(console: Console, root: Client, step: str) -> None:
    name, made = f"mallory {step}", f"backdoor {step}"
    hire(console, name, "admin")
    body = {"name": made, "password": "a long password", "roles": ["admin"]}
    with (
        console.signed_in(name) as mallory,
        half_sent(console, mallory, body) as late,
    ):
        time.sleep(0.3)  # it has been let in by then, and waits for its last byte
        if step == "remove":
            assert root.delete(f"/api/users/{name}").status_code == 204
        else:
            assert root.patch(f"/api/users/{name}", json={"roles": []}).status_code == 200
        late.sendall(b"}")
        assert late.recv(4096).split(b" ")[1] == b"401"
    with console.database() as database:
        assert accounts.get(database, made) is None
    assert made not in audit_path().read_text()


@pytest.mark.parametrize("step", ["remove", "roles", "cameras", "disabled"])
def test_an_approval_under_way_of_somebody_who_may_not_any_more(
    console: Console, root: Client, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[bytes, frozenset[int]]:
        inside.set()
        assert go_on.wait(WAIT_SECONDS)
        return {bytes(16): frozenset({1})}

    monkeypatch.setattr(flow, "select_epochs", slow)
    name = f"boss {step}"
    hire(console, name, "approver")
    found: list[Any] = []
    with console.signed_in("guard") as guard, console.signed_in(name) as boss:
        number = asked(guard)
        url = f"/api/requests/{number}/approve"
        thread = threading.Thread(target=lambda: found.append(boss.post(url, json={"note": ""})))
        thread.start()
        assert inside.wait(WAIT_SECONDS)
        if step == "remove":
            assert root.delete(f"/api/users/{name}").status_code == 204
        else:
            change = {"roles": ["requester"], "cameras": ["yard"], "disabled": True}
            answer = root.patch(f"/api/users/{name}", json={step: change[step]})
            assert answer.status_code == 200
        go_on.set()
        thread.join()
        assert found[0].status_code == 403, found[0].text
        assert guard.get(f"/api/requests/{number}").json()["state"] == "pending"
        assert guard.get(f"/api/requests/{number}/file").status_code == 409
    told = [(one["action"], one["user"]) for one in entries() if one.get("request") == number]
    assert told == [("request", "guard"), ("approve", name), ("approve not done", name)]


@pytest.mark.parametrize("step", ["create", "change", "remove", "password"])
def test_the_account_is_looked_at_where_it_is_written(
    console: Console, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at the session and the change itself lies a password's hash."""
    victim, actor = f"victim {step}", f"actor {step}"
    hire(console, victim)
    hire(console, actor, "admin")
    append = audit.append

    def removing(*given: Any, **named: Any) -> Any:
        head = append(*given, **named)
        if given[1]["user"] == actor and not str(given[1]["action"]).endswith("not done"):
            with console.database() as database:
                accounts.remove(database, actor)
        return head

    monkeypatch.setattr("pipeline.review.api.audit.append", removing)
    with console.signed_in(actor) as client:
        if step == "create":
            body = {"name": "never made", "password": "a long password"}
            answer = client.post("/api/users", json=body)
        elif step == "change":
            answer = client.patch(f"/api/users/{victim}", json={"roles": ["admin"]})
        elif step == "remove":
            answer = client.delete(f"/api/users/{victim}")
        else:
            body = {"old": f"the password of {actor}", "new": "another password"}
            answer = client.post("/api/session/password", json=body)
    assert answer.status_code in (403, 409), answer.text
    with console.database() as database:
        kept = accounts.get(database, victim)
        assert kept is not None and kept.roles == {"viewer"}
        assert accounts.get(database, "never made") is None
    begun, failed = [one for one in entries() if one["user"] == actor]
    assert failed["action"] == f"{begun['action']} not done"
    assert failed.get("account") == begun.get("account")


# --- names given anew ---


def test_a_name_given_anew_inherits_nothing(console: Console, root: Client) -> None:
    hire(console, "temp", "requester", "approver")
    with console.signed_in("temp") as temp:
        number = asked(temp)
        made = temp.post("/api/exports", json=SPAN)
        assert made.status_code == 201 and temp.get(made.json()["url"]).status_code == 200
    assert root.delete("/api/users/temp").status_code == 204
    hire(console, "temp", "requester")
    url = f"/api/requests/{number}"
    with console.signed_in("temp") as other:
        assert other.get("/api/requests").json() == {"requests": []}
        assert other.get(url).status_code == 404
        assert other.post(f"{url}/withdraw").status_code == 404
        assert other.get(made.json()["url"]).status_code == 404
    root.patch("/api/users/temp", json={"roles": ["approver"]})
    with console.signed_in("temp") as other:
        assert "approve" not in other.get(url).json()["may"]
        namesake = other.post(f"{url}/refuse", json={"note": ""})
        assert namesake.status_code == 409 and "second person" in namesake.json()["error"]


def test_all_spellings_of_a_name_are_counted_as_one(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def check(_: LoginLimiter, name: str, __: str) -> int:
        names.append(name)
        return 1

    monkeypatch.setattr(LoginLimiter, "check", check)
    with console.anonymous() as client:
        for name in ("\u017fpelt", "Spelt", "\uff53\uff50\uff45\uff4c\uff54", "spelt"):
            body = {"name": name, "password": "not the password"}
            assert client.post("/api/session", json=body).status_code == 429
    assert names == ["spelt"] * 4


# --- who is told what ---


def test_the_log_leaves_out_cameras_of_others(tmp_path: Path) -> None:
    with running_console(tmp_path) as console, console.signed_in("root") as root:
        for camera in ("lobby", "vault", "lobby", "vault", "vault"):
            assert root.post("/api/exports", json={**SPAN, "camera": camera}).status_code == 201
        root.patch("/api/users/guard", json={"cameras": ["vault", "yard"]})
        with console.signed_in("chief") as chief:
            seen = chief.get("/api/audit").json()
            assert (seen["count"], seen["faults"]) == (6, [])
            assert [one["n"] for one in seen["entries"]] == [6, 3, 1]
            assert "vault" not in json.dumps(seen) and seen["entries"][0]["cameras"] == ["yard"]
            newest = chief.get("/api/audit?limit=2").json()["entries"]
            assert [one["n"] for one in newest] == [6, 3], "a page is filled up"
            older = chief.get("/api/audit?limit=2&before=3").json()["entries"]
            assert [one["n"] for one in older] == [1]
        assert [one["n"] for one in root.get("/api/audit").json()["entries"]] == [6, 5, 4, 3, 2, 1]


def test_strangers_learn_how_many_cameras_are_silent_and_no_name(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.facts.update({one: a_fact(one) for one in ("lobby", "vault")})
    monkeypatch.setattr("pipeline.review.live.facts.SILENT_SECONDS", -1.0)
    proxied = {"X-Forwarded-For": "192.0.2.7"}
    with console.anonymous() as client, console.signed_in("chief") as chief:
        stranger, local, signed_in = (
            who.get("/readyz", headers=headers)
            for who, headers in ((client, proxied), (client, {}), (chief, proxied))
        )
    assert {one.status_code for one in (stranger, local, signed_in)} == {503}
    assert (stranger.json()["silent"], stranger.json()["cameras"]) == (2, None)
    assert (local.json()["silent"], local.json()["cameras"]) == (2, ["lobby", "vault"])
    assert (signed_in.json()["silent"], signed_in.json()["cameras"]) == (2, ["lobby"])


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "X-Forwarded-Proto", "Host"]
)
def test_who_comes_by_a_proxy_of_this_machine_is_not_local(tmp_path: Path, header: str) -> None:
    demo = (DemoAccount("guard", PEOPLE["guard"].password, ("requester",)),)
    with (
        running_console(tmp_path, recorded=False, demo=demo, names=["cctv.example.org"]) as console,
        console.anonymous() as client,
    ):
        said = {header: "cctv.example.org"}
        assert client.get("/metrics", headers=said).status_code == 401
        assert client.get("/api/session", headers=said).status_code == 401
        assert client.get("/metrics").status_code == 200
        assert client.get("/api/session").json()["user"]["name"] == "guard"


# --- stopping ---


def test_a_body_that_the_server_does_not_wait_for_is_an_answer() -> None:
    """A cancelled task that only goes down is told of at length."""

    async def stopped() -> int:
        started = asyncio.Event()

        async def never() -> Message:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError

        request = Request({"type": "http", "method": "POST", "headers": []}, never)
        reading = asyncio.create_task(_read_body(request))
        await started.wait()
        reading.cancel()
        with pytest.raises(ApiError) as answered:
            await reading
        return answered.value.status

    assert asyncio.run(stopped()) == 503


def test_it_stops_without_a_word_while_bodies_come(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    late: list[socket.socket] = []
    with (
        running_console(tmp_path, recorded=False) as console,
        console.signed_in("root") as root,
    ):
        body = {"name": "dana", "password": "a long password"}
        late = [half_sent(console, root, body) for _ in range(3)]
        time.sleep(0.3)
    for each in late:
        each.close()
    assert [record.getMessage() for record in caplog.records] == []
