"""Signing in and out: cookies, limits, passwords, the demo, and what is logged of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.errors import UsageError
from pipeline.review.api.lock_outs import MOST_AN_HOUR, SAME_SECONDS, LockOuts
from pipeline.review.plan import DemoAccount
from pipeline.review.store import accounts
from pipeline.vault.audit import audit_path, check
from support.console import PEOPLE, Console, running_console

DEMO = (
    DemoAccount("guard", "guard password 1", ("requester",)),
    DemoAccount("root", "root password 12", ("admin",)),
)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console"), recorded=False) as running:
        yield running


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("demo")
    with running_console(folder, recorded=False, demo=DEMO) as running:
        yield running


def cookie_of(answer: httpx.Response, name: str = "bauta_session") -> Morsel[str]:
    (header,) = (
        value for value in answer.headers.get_list("set-cookie") if value.startswith(f"{name}=")
    )
    return SimpleCookie(header)[name]


def logged() -> list[dict[str, Any]]:
    report = check(audit_path())
    assert report.faults == ()
    return [dict(line.fields) for line in report.lines if line is not None]


def test_site_says_no_more_than_it_should(console: Console) -> None:
    with console.anonymous() as client:
        assert client.get("/api/site").json() == {
            "site": "North",
            "version": "0.1.0",
            "demo": False,
            "accounts": [],
        }


def test_signing_in_and_out(console: Console) -> None:
    with console.anonymous() as client:
        assert client.get("/api/session").status_code == 401
        body = {"name": "GUARD", "password": PEOPLE["guard"].password}
        answer = client.post("/api/session", json=body)
        assert answer.status_code == 200
        found = answer.json()
        assert found["user"] == {
            "name": "guard",
            "roles": ["requester", "viewer"],
            "cameras": ["lobby", "yard"],
        }
        cookie = cookie_of(answer)
        assert cookie["httponly"] and cookie["samesite"].lower() == "strict"
        assert cookie["path"] == "/" and not cookie["domain"] and not cookie["secure"]
        assert len(cookie.value) >= 43 and cookie.value not in answer.text
        assert client.get("/api/session").json() == found

        token = client.cookies["bauta_session"]
        signed_out = client.delete("/api/session", headers={"X-CSRF-Token": found["csrf"]})
        assert signed_out.status_code == 204
        assert cookie_of(signed_out).value == ""
        client.cookies.set("bauta_session", token)
        assert client.get("/api/session").status_code == 401, "the token is dead, not forgotten"
    actions = [(one["action"], one["user"]) for one in logged()]
    assert actions[-2:] == [("sign-in", "guard"), ("sign-out", "guard")]


def test_a_new_session_ends_the_one_before_in_that_browser(console: Console) -> None:
    with console.signed_in("guard") as client, console.anonymous() as thief:
        thief.cookies.set("bauta_session", client.cookies["bauta_session"])
        assert thief.get("/api/session").status_code == 200
        body = {"name": "guard", "password": PEOPLE["guard"].password}
        assert client.post("/api/session", json=body).status_code == 200
        assert thief.get("/api/session").status_code == 401
        assert client.get("/api/session").status_code == 200


def test_unknown_and_wrong_are_not_told_apart(console: Console) -> None:
    with console.anonymous(address="127.0.0.2") as client:
        answers = [
            client.post("/api/session", json={"name": name, "password": "not the password"})
            for name in ("looker", "nobody")
        ]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert answers[0].content == answers[1].content
        assert [name for name in answers[0].headers] == [name for name in answers[1].headers]


def test_too_many_wrong_passwords_must_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_console(tmp_path, recorded=False) as console, console.anonymous() as client:
        caplog.set_level(logging.WARNING)
        wrong = {"name": "looker\n\x1b[31m", "password": "SECRET-guess"}
        for _ in range(5):
            assert client.post("/api/session", json=wrong).status_code == 401
        refused = client.post("/api/session", json=wrong)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 300
        assert refused.headers["Retry-After"] in refused.json()["error"]
        # the address waits, whatever the name, and even with the right password
        right = {"name": "root", "password": PEOPLE["root"].password}
        assert client.post("/api/session", json=right).status_code == 429

        assert "SECRET-guess" not in caplog.text
        assert "\x1b" not in caplog.text
        metrics = client.get("/metrics").text
        assert "bauta_console_sign_in_failures_total 5.0" in metrics
        assert "bauta_console_lock_outs_total 2.0" in metrics
        entries = logged()
        assert [one["action"] for one in entries] == ["lock-out", "lock-out"]
        assert entries[0]["address"] == "127.0.0.1"
        assert "SECRET-guess" not in audit_path().read_text()


def test_strangers_cannot_fill_the_log() -> None:
    now = [0.0]
    lock_outs = LockOuts(clock=lambda: now[0])
    assert lock_outs.is_new("guard", "10.0.0.1")
    assert not lock_outs.is_new("guard", "10.0.0.1")
    assert sum(lock_outs.is_new(f"name {n}", "10.0.0.1") for n in range(500)) == MOST_AN_HOUR - 1
    now[0] = SAME_SECONDS + 1
    assert not lock_outs.is_new("guard", "10.0.0.1"), "the hour is full"
    now[0] = 3601.0
    assert lock_outs.is_new("guard", "10.0.0.1")


def test_a_new_password_ends_all_other_sessions(console: Console) -> None:
    url = "/api/session/password"
    new = "another password 1"
    with console.database() as database:
        accounts.create(database, "temp", PEOPLE["guard"].password, now_ms=1)
    body = {"name": "temp", "password": PEOPLE["guard"].password}
    address = "127.0.0.3"
    with console.anonymous(address=address) as here, console.anonymous(address=address) as there:
        for client in (here, there):
            csrf = client.post("/api/session", json=body).json()["csrf"]
            client.headers["X-CSRF-Token"] = csrf
        wrong = here.post(url, json={"old": "not it, not it", "new": new})
        assert (wrong.status_code, wrong.json()) == (
            403,
            {"error": "old: this is not the password"},
        )
        short = here.post(url, json={"old": body["password"], "new": "short"})
        assert short.status_code == 422 and "12 characters" in short.json()["error"]
        assert there.get("/api/session").status_code == 200

        assert here.post(url, json={"old": body["password"], "new": new}).status_code == 204
        assert there.get("/api/session").status_code == 401
        assert here.get("/api/session").status_code == 200, "who changed it stays"
        assert here.delete("/api/session").status_code == 204
        assert here.post("/api/session", json=body).status_code == 401
        assert here.post("/api/session", json={**body, "password": new}).status_code == 200
    assert "password-change" in [one["action"] for one in logged()]
    assert new not in audit_path().read_text()


def test_a_disabled_account_is_out_at_once(console: Console) -> None:
    """Also where another process did it: nothing is remembered between requests."""
    with console.database() as database:
        accounts.create(database, "shortly", "a short password", now_ms=1)
        with console.anonymous(address="127.0.0.4") as client:
            body = {"name": "shortly", "password": "a short password"}
            assert client.post("/api/session", json=body).status_code == 200
            assert client.get("/api/cameras").status_code == 200
            accounts.change(database, "shortly", disabled=True)
            assert client.get("/api/cameras").status_code == 401
            assert client.post("/api/session", json=body).status_code == 401


def test_a_session_that_is_not_used_ends(tmp_path: Path) -> None:
    with (
        running_console(tmp_path, recorded=False, session_idle="1ms") as console,
        console.signed_in("guard") as client,
    ):
        assert client.get("/api/session").status_code == 401


def test_signing_in_goes_on_without_a_log_and_a_new_password_does_not(tmp_path: Path) -> None:
    with running_console(tmp_path, recorded=False) as console:
        audit_path().mkdir()
        with console.signed_in("guard") as client:
            body = {"old": PEOPLE["guard"].password, "new": "another password 1"}
            refused = client.post("/api/session/password", json=body)
            assert refused.status_code == 503
            assert "audit log" in refused.json()["error"]
            assert str(tmp_path) not in refused.text
            assert client.delete("/api/session").status_code == 204
            client.headers.pop("X-CSRF-Token")
            again = {"name": "guard", "password": PEOPLE["guard"].password}
            assert client.post("/api/session", json=again).status_code == 200
            assert "bauta_console_audit_failures_total 3.0" in client.get("/metrics").text


# --- the demo ---


def test_the_demo_greets_its_browser_once(demo: Console) -> None:
    with demo.anonymous() as client:
        site = client.get("/api/site").json()
        assert site["demo"] and [one["name"] for one in site["accounts"]] == ["guard", "root"]
        first = client.get("/api/session")
        assert first.status_code == 200 and first.json()["user"]["name"] == "guard"
        assert client.get("/api/session").json() == first.json(), "one session, not many"
        assert client.get("/api/cameras").status_code == 200

        client.headers["X-CSRF-Token"] = first.json()["csrf"]
        assert client.delete("/api/session").status_code == 204
        assert client.get("/api/session").status_code == 401, "who signed out stays out"
        root = {"name": "root", "password": DEMO[1].password}
        assert client.post("/api/session", json=root).status_code == 200
        assert client.get("/api/session").json()["user"]["roles"] == ["admin", "viewer"]
        assert "bauta_demo_out" not in client.cookies


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_the_demo_does_not_greet_other_pages(demo: Console, site: str) -> None:
    with demo.anonymous() as client:
        answer = client.get("/api/session", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


def test_a_demo_for_others_is_refused(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_text("no certificate")
    settings: dict[str, Any] = {"address": "0.0.0.0", "tls": {"cert": pem, "key": pem}}
    with (
        pytest.raises(UsageError),
        running_console(tmp_path, recorded=False, demo=DEMO, **settings),
    ):
        pass


def test_errors_are_one_line_and_hold_nothing_that_was_sent(console: Console) -> None:
    with console.anonymous() as client:
        for body in (
            b"{",
            b"[]",
            b"null",
            b'{"name": "a"}',
            b'{"name": 1, "password": "SECRET"}',
            b'{"name": "a", "password": "SECRET", "more": 1}',
            b'{"name": "a", "password": {"SECRET": 1}}',
            b'{"name": "\\ud800", "password": "SECRET"}',
            b'{"name": "a", "password": "SECRET", "\\ud800\\n": 1}',
            b"\xff\xfe",
            b"[" * 100_000,
        ):
            answer = client.post(
                "/api/session", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code in (400, 422), body[:40]
            error = json.loads(answer.content)
            assert list(error) == ["error"] and "\n" not in error["error"]
            assert "SECRET" not in answer.text and len(answer.text) < 500
        form = client.post("/api/session", data={"name": "root", "password": "x"})
        assert form.status_code == 422, "a form of another page sends no JSON"
