"""Cameras' facts, accounts, the audit log, health, metrics, and the page's own files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import StoreError
from pipeline.review.api.static_files import FOLDER
from pipeline.review.live.facts import CameraFact
from pipeline.review.store.database import Database
from pipeline.status import SinkStatus
from pipeline.vault.audit import audit_path, check
from support.browser import Browser, chromium
from support.console import Client, Console, a_fact, running_console
from support.live import live_stream


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def root(console: Console) -> Iterator[Client]:
    with console.signed_in("root") as client:
        yield client


def tell(console: Console, *facts: CameraFact) -> None:
    console.facts.update({fact.camera: fact for fact in facts})


def entries() -> list[dict[str, Any]]:
    report = check(audit_path())
    assert report.faults == ()
    return [dict(line.fields) for line in report.lines if line is not None]


# --- cameras ---


def test_what_a_camera_does(console: Console, root: Client) -> None:
    secret = SinkStatus("rtsp://me:SECRET@nvr/one", "down", 1, 2, "rtsp://me:SECRET@nvr: refused")
    down = a_fact(
        "yard", state="down", error="rtsp://me:SECRET@10.0.0.9/: no route", sinks=[secret]
    )
    tell(console, a_fact("lobby"), down)
    answer = root.get("/api/cameras")
    lobby, yard, vault = answer.json()
    assert "SECRET" not in answer.text
    assert (lobby["id"], lobby["state"], lobby["live"], lobby["error"]) == (
        "lobby",
        "up",
        True,
        None,
    )
    assert (lobby["frames_in"], lobby["frames_out"], lobby["dropped"]) == (1000, 990, 10)
    assert (lobby["latency_p50_ms"], lobby["latency_p95_ms"]) == (60.0, 90.0)
    assert lobby["obscured"] == {"overload": 3} and lobby["faces"] == 2
    assert lobby["sinks"] == [
        {"name": "rtsp://***@nvr/one", "state": "up", "written": 990, "dropped": 2, "error": None}
    ]
    assert yard["state"] == "down" and "10.0.0.9" in yard["error"]
    assert (vault["state"], vault["live"]) == ("connecting", True)


def test_a_console_without_cameras_has_recordings(tmp_path: Path) -> None:
    with running_console(tmp_path, cameras=()) as console, console.signed_in("guard") as guard:
        found = guard.get("/api/cameras").json()
        assert [(one["id"], one["state"], one["live"]) for one in found] == [
            ("lobby", "recorded", False),
            ("yard", "recorded", False),
        ]
        assert guard.get("/api/cameras/lobby/snapshot.png").status_code == 404


def test_hls_and_snapshot(console: Console, root: Client) -> None:
    for path in ("live.m3u8", "snapshot.png"):
        nothing = root.get(f"/api/cameras/vault/{path}")
        assert (nothing.status_code, nothing.headers["retry-after"]) == (503, "1")
    init, fragments = live_stream(25)
    console.hub.begin("vault", init)
    for fragment in fragments[:10]:
        console.hub.publish("vault", fragment)
    png = root.get("/api/cameras/vault/snapshot.png")
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG\r\n") and png.headers["cache-control"] == "no-store"
    root.get("/api/cameras/vault/live.m3u8")  # asking begins it
    for fragment in fragments[10:]:
        console.hub.publish("vault", fragment)
    playlist = root.get("/api/cameras/vault/live.m3u8")
    assert playlist.status_code == 200
    assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
    names = [line for line in playlist.text.splitlines() if line and not line.startswith("#")]
    part = root.get(f"/api/cameras/vault/{names[0]}")
    assert part.status_code == 200 and part.content[4:8] == b"moof"
    assert root.get("/api/cameras/vault/live/init1.mp4").content == init.data
    assert root.get("/api/cameras/vault/live/1.m4s").status_code == 404
    console.hub.refuse("vault", "H.265 does not play in browsers")
    refused = root.get("/api/cameras/vault/live.m3u8")
    assert refused.json() == {"error": "H.265 does not play in browsers"}
    assert root.get("/api/cameras").json()[2]["refusal"] == "H.265 does not play in browsers"


# --- users ---


def test_accounts_are_made_changed_and_removed(console: Console, root: Client) -> None:
    body = {"name": "Dana", "password": "dana's password", "roles": ["requester"], "cameras": None}
    made = root.post("/api/users", json=body)
    assert made.status_code == 201, made.text
    assert (
        made.json().items()
        >= {
            "name": "dana",
            "roles": ["requester", "viewer"],
            "cameras": None,
            "disabled": False,
        }.items()
    )
    assert root.post("/api/users", json=body).status_code == 409
    names = [one["name"] for one in root.get("/api/users").json()["users"]]
    assert names == ["chief", "dana", "guard", "looker", "root"]
    with console.signed_in("dana") as dana:
        changed = root.patch("/api/users/DANA", json={"cameras": ["lobby"]})
        assert changed.json()["cameras"] == ["lobby"]
        assert changed.json()["roles"] == ["requester", "viewer"], "what is left out stays"
        assert dana.get("/api/cameras").status_code == 401, "a change signs out"
    assert root.patch("/api/users/dana", json={"cameras": None}).json()["cameras"] is None
    assert root.patch("/api/users/dana", json={"password": "dana"}).status_code == 422
    assert root.patch("/api/users/dana", json={}).status_code == 422
    assert root.patch("/api/users/nobody", json={"disabled": True}).status_code == 404
    assert root.delete("/api/users/dana").status_code == 204
    assert root.delete("/api/users/dana").status_code == 404
    said = [one for one in entries() if str(one["action"]).startswith("user-")]
    assert [(one["action"], one["user"], one["account"]) for one in said] == [
        ("user-create", "root", "dana"),
        ("user-change", "root", "dana"),
        ("user-change", "root", "dana"),
        ("user-remove", "root", "dana"),
    ]
    assert "dana's password" not in audit_path().read_text()


def test_the_last_admin_stays(console: Console, root: Client) -> None:
    before = len(entries())
    for answer in (
        root.delete("/api/users/root"),
        root.patch("/api/users/root", json={"roles": ["approver"]}),
        root.patch("/api/users/Root", json={"disabled": True}),
    ):
        assert answer.status_code == 409
        assert "last administrator" in answer.json()["error"]
    assert len(entries()) == before, "what was not done is not in the log"
    assert root.get("/api/users").status_code == 200


def test_no_change_without_its_entry_in_the_log(tmp_path: Path) -> None:
    with running_console(tmp_path, recorded=False) as console, console.signed_in("root") as root:
        audit_path().write_bytes(b"damaged\n")
        body = {"name": "dana", "password": "dana's password", "roles": []}
        for answer in (
            root.post("/api/users", json=body),
            root.patch("/api/users/guard", json={"disabled": True}),
            root.delete("/api/users/guard"),
        ):
            assert answer.status_code == 503 and "audit log" in answer.json()["error"]
        found = root.get("/api/users").json()["users"]
        assert [(one["name"], one["disabled"]) for one in found] == [
            ("chief", False),
            ("guard", False),
            ("looker", False),
            ("root", False),
        ]


# --- the log ---


def test_the_log_is_read_from_its_end(tmp_path: Path) -> None:
    with running_console(tmp_path, recorded=False) as console, console.signed_in("root") as root:
        empty = root.get("/api/audit").json()
        assert empty == {"entries": [], "count": 0, "faults": []}
        for disabled in (True, False, True):
            root.patch("/api/users/guard", json={"disabled": disabled})
        found = root.get("/api/audit?limit=2").json()
        assert (found["count"], found["faults"]) == (3, [])
        assert [one["n"] for one in found["entries"]] == [3, 2]
        assert (
            found["entries"][0].items()
            >= {
                "action": "user-change",
                "user": "root",
                "account": "guard",
                "disabled": True,
            }.items()
        )
        assert not {"signature", "signer", "before"} & found["entries"][0].keys()
        assert [one["n"] for one in root.get("/api/audit?before=2").json()["entries"]] == [1]
        assert root.get("/api/audit?before=999").json()["entries"][0]["n"] == 3
        signed = check(audit_path()).lines[0]
        assert signed is not None and signed.signer is not None and signed.is_intact

        lines = audit_path().read_bytes().splitlines(keepends=True)
        audit_path().write_bytes(lines[0] + b"{}\n" + lines[2])
        broken = root.get("/api/audit").json()
        assert [one["action"] for one in broken["entries"]] == [
            "user-change",
            "damaged",
            "user-change",
        ]
        assert len(broken["faults"]) == 1 and "entry 2 was altered" in broken["faults"][0]
        audit_path().unlink()
        audit_path().mkdir()
        assert root.get("/api/audit").status_code == 503


# --- for machines ---


def test_ready_says_what_is_not(
    console: Console, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(console, a_fact("lobby"), a_fact("yard", state="down", error="rtsp://x:SECRET@y"))
    with console.anonymous() as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"database": True, "index": True, "silent": 0, "cameras": []},
        )
        monkeypatch.setattr("pipeline.review.live.facts.SILENT_SECONDS", -1.0)
        silent = client.get("/readyz")
        assert (silent.status_code, silent.json()["cameras"]) == (503, ["lobby", "yard"])
        assert "SECRET" not in silent.text
        monkeypatch.undo()

        def fails(self: Database) -> None:
            raise StoreError("postgresql://***@secret-host is down")

        monkeypatch.setattr(Database, "check", fails)
        broken = client.get("/readyz")
        assert (broken.status_code, broken.json()["database"]) == (503, False)
        assert "secret-host" not in broken.text
        assert client.get("/healthz").status_code == 200


def test_a_database_that_fails_is_one_plain_line(
    console: Console, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StoreError("postgresql://***@secret-host is down")

    monkeypatch.setattr("pipeline.review.store.people.find", fails)
    answer = root.get("/api/people")
    assert answer.status_code == 503
    assert answer.json() == {"error": "the database does not answer; try again"}


def test_a_defect_is_an_answer_too(
    console: Console, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr("pipeline.review.store.people.find", fails)
    answer = root.get("/api/people")
    assert answer.status_code == 500 and "SECRET" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"
    assert root.get("/api/cameras").status_code == 200


def test_metrics_as_prometheus_reads_them(console: Console) -> None:
    secret = SinkStatus("srt://h?passphrase=SECRET", "down", 5, 6, None)
    tell(
        console,
        a_fact("lobby", evidence_alarm="no key", frames_queued_raw=3, capacity_raw=12, tracks=17),
        a_fact("yard", state="failed", sinks=[secret]),
    )
    with console.anonymous() as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=1.0.0")
    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return values[(name, *sorted(labels.items()))]

    assert value("bauta_frames_in_total", camera="lobby") == 1000
    assert value("bauta_frames_out_total", camera="lobby") == 990
    assert value("bauta_frames_dropped_total", camera="lobby", reason="raw") == 6
    assert value("bauta_frames_dropped_total", camera="lobby", reason="protected") == 4
    assert value("bauta_detections_total", camera="lobby") == 250
    assert value("bauta_network_runs_total", camera="lobby", network="detector") == 250
    assert value("bauta_faces", camera="lobby") == 2
    assert value("bauta_tracks_total", camera="lobby") == 17
    assert value("bauta_redactions_total", camera="lobby", reason="overload") == 3
    assert value("bauta_sink_up", camera="lobby", sink="rtsp://***@nvr/one") == 1
    assert value("bauta_sink_dropped_total", camera="lobby", sink="rtsp://***@nvr/one") == 2
    assert value("bauta_camera_up", camera="lobby") == 1
    assert value("bauta_camera_up", camera="yard") == 0
    assert value("bauta_camera_state", camera="yard", state="failed") == 1
    assert value("bauta_queue_depth", camera="lobby", queue="raw") == 3
    assert value("bauta_queue_capacity", camera="lobby", queue="raw") == 12
    assert value("bauta_evidence_alarm", camera="lobby") == 1
    assert value("bauta_viewers", camera="lobby") == 0
    assert value("bauta_console_sign_in_failures_total") == 0
    assert value("bauta_latency_seconds_bucket", camera="lobby", le="0.05") == 300
    assert value("bauta_latency_seconds_bucket", camera="lobby", le="+Inf") == 990
    assert value("bauta_latency_seconds_count", camera="lobby") == 990
    assert value("bauta_latency_seconds_sum", camera="lobby") == 60
    assert families["bauta_latency_seconds"].type == "histogram"
    assert all(name.startswith("bauta_") for name in families)
    assert "SECRET" not in answer.text and "guard" not in answer.text


def test_metrics_are_for_this_machine_or_an_admin(console: Console, root: Client) -> None:
    proxied = {"X-Forwarded-For": "192.0.2.7"}
    with console.anonymous() as client:
        assert client.get("/metrics", headers=proxied).status_code == 401
    with console.signed_in("chief") as chief:
        assert chief.get("/metrics", headers=proxied).status_code == 403
    assert root.get("/metrics", headers=proxied).status_code == 200


# --- the page's own files ---


def test_the_page_and_all_its_files(console: Console) -> None:
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    with console.anonymous() as client:
        for path in sorted(FOLDER.rglob("*")):
            name = path.relative_to(FOLDER).as_posix()
            if not path.is_file() or (path.suffix not in kinds and path.suffix != ".woff2"):
                continue
            answer = client.get(f"/static/{name}")
            assert answer.status_code == 200 and answer.content == path.read_bytes(), name
            assert answer.headers["content-type"].startswith(kinds.get(path.suffix, "font/woff2"))
            etag = {"If-None-Match": answer.headers["etag"]}
            assert client.get(f"/static/{name}", headers=etag).status_code == 304
        assert client.get("/").content == (FOLDER / "index.html").read_bytes()


@pytest.mark.slow
@pytest.mark.untimed
@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
def test_the_page_of_the_api_shows_every_route(console: Console, tmp_path: Path) -> None:
    with Browser(f"{console.url}api/docs", tmp_path / "profile") as browser:
        shown = browser.evaluate(
            "new Promise(done => { const look = () => "
            "document.querySelector('.api-operation') === null ? setTimeout(look, 50) : "
            "done([...document.querySelectorAll('.api-operation')].map(one => one.id)); look(); })"
        )
        found = browser.evaluate(
            "(() => { const find = document.getElementById('find'); find.value = 'thumbnail'; "
            "find.dispatchEvent(new Event('input')); return [...document.querySelectorAll("
            "'.api-operation:not([hidden])')].map(one => one.id); })()"
        )
    with console.anonymous() as client:
        paths = client.get("/openapi.json").json()["paths"]
    ids = {one["operationId"] for found in paths.values() for one in found.values()}
    assert set(shown) == ids and len(shown) == len(ids)
    assert found == ["thumbnail"]


def test_many_at_once(console: Console) -> None:
    """Twenty browsers: each gets its own answer."""
    answers: list[httpx.Response] = []

    def ask(name: str) -> None:
        with console.signed_in(name) as client:
            answers.extend(client.get("/api/session") for _ in range(5))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("guard", "looker") * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 100 and {one.status_code for one in answers} == {200}
    users = [json.loads(one.content)["user"]["name"] for one in answers]
    assert sorted(users) == ["guard"] * 50 + ["looker"] * 50
