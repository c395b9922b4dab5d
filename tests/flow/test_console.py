"""A site as its people meet it: who watches, who asks, who approves, and the officer who opens."""

from __future__ import annotations

import getpass
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.browser import chromium
from support.clips import decode_all, luma
from support.flow import bauta, wait_for
from support.needles import Needles, memory_of
from support.pendulum import FPS, Film, Seen
from support.person import TILE, Person
from support.site import CAMERA_LOGIN, OTHER_SECRET, PASSWORDS, Site, running_site
from support.tapped import Tap, live_memory_of
from support.viewers import StuckViewer, Viewer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]
HIDDEN_DB, SHOWN_DB, KEPT_DB = 20.0, 25.0, 28.0  # luma against what the camera filmed
CASE, REASON = "2026-117", "theft of a bicycle, north gate"
CARDS = "[...document.querySelectorAll('.people-list article')]"
RECORDED = "document.querySelector('.recordings video')"
PROBLEM = "document.querySelector('.note.danger')"
VIEWERS = 10
OTHERS = ("sign-in", "user-create")  # entries that are no step from asking to opening
LARGER_PX = 50  # of the two who walk there, one has a face of 58 pixels, the other of 43


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


def as_filmed(film: Film, clip: Path) -> list[Seen]:
    return [film.seen(luma(frame)) for frame in decode_all(clip)]


def assert_protected(seen: Seen) -> None:
    assert seen.background_db > KEPT_DB, "this is not what the camera films"
    assert max(seen.face_db(0), seen.face_db(1)) < HIDDEN_DB, "a face can be seen"


def test_from_the_wall_to_the_face(site: Site, tmp_path: Path) -> None:
    with (
        Person(f"{site.url}#/live", tmp_path, "guard") as guard,
        Person(f"{site.url}#/requests", tmp_path, "chief") as chief,
    ):
        look_at_the_wall(site, guard)
        asked, chosen = ask_for_somebody(site, guard)
        chief.sign_in_with(PASSWORDS["chief"])
        approve(site, chief, asked)
        take_home(guard, asked)
        request, clip = guard.downloaded(".bautareq"), guard.downloaded(".mp4")
        assert guard.errors == [] and chief.errors == []
    open_it(site, asked, chosen, request, clip)


def look_at_the_wall(site: Site, guard: Person) -> None:
    guard.sign_in_with(PASSWORDS["guard"])
    guard.until_it_plays("lobby")
    guard.until_it_plays("yard")
    guard.until("two faces", f"{TILE % 'lobby'}.innerText.includes('2 faces')")
    guard.shoot("1 wall")
    pictures = [guard.picture(f"{TILE % 'lobby'}.querySelector('video')") for _ in range(6)]
    for picture in pictures:
        assert_protected(site.film.seen(picture))


def people_of(site: Site) -> list[dict[str, Any]]:
    """Who is on the cards, those longest seen first; frames of two seconds at least."""
    with site.client("guard") as client:
        query = {"cameras": "lobby", "recoverable": "true", "sort": "-seconds"}
        found = client.get("/api/people", params=query).json()["people"]
    return [person for person in found if person["frames"] >= 2 * FPS]


def ask_for_somebody(site: Site, guard: Person) -> tuple[dict[str, Any], dict[str, Any]]:
    """The request and the person, as the API has them."""
    chosen = wait_for("people in the index", lambda: people_of(site), every_s=0.5)[0]
    guard.click(guard.button("Recordings"))
    guard.until("a picture", f"{RECORDED}?.readyState >= 2")
    card = f"{CARDS}.find((one) => one.querySelector('img').src.endsWith({thumbnail(chosen)!r}))"
    guard.until("the card", f"Boolean({card}?.querySelector('img[data-shown]'))")
    assert_protected(site.film.seen(guard.picture(RECORDED)))
    guard.shoot("2 recordings")
    guard.click(f"{card}.querySelector('.people-card-pick input')")
    guard.click(guard.button("Ask for recovery"))
    guard.fill("Case", CASE)
    guard.fill("Reason", REASON)
    guard.shoot("3 asks")
    guard.click(guard.button("Send the request"))
    guard.until("it is sent", "document.querySelector('dialog[open]') === null")
    with site.client("guard") as client:
        (asked,) = client.get("/api/requests").json()["requests"]
    assert (asked["state"], asked["case"], asked["reason"]) == ("pending", CASE, REASON)
    assert [person["person_id"] for person in asked["people"]] == [chosen["id"]]
    return asked, chosen


def thumbnail(person: dict[str, Any]) -> str:
    return f"/api/people/{person['id']}/thumbnail.jpg"


def approve(site: Site, chief: Person, asked: dict[str, Any]) -> None:
    """With a release of the approvers' key for this person alone, made at the terminal."""
    chief.until("it is listed", "document.querySelector('.row-link') !== null")
    chief.shoot("1 requests")
    chief.click("document.querySelector('.row-link')")
    chief.until("its page", "document.querySelector('.request-reason') !== null")
    assert chief.evaluate("document.querySelector('.request-reason').textContent") == REASON
    chief.click(chief.button("Protected clip"))
    clip = chief.downloaded(".mp4")
    release = chief.shots / "for the officer.release"
    (track,) = {person["track"] for person in asked["people"]}
    made = bauta(
        *("keys", "release", clip, release, "--key", site.approver.key),
        *("--for", site.officer.pub, "--track", str(track), "--case", CASE, "--reason", REASON),
        *("--service", site.state / "service.pub"),
    )
    assert made.code == 0, made.err
    chief.click(chief.button("Approve"))
    chief.choose_file(chief.labelled("Key release"), release)
    chief.fill("Note", "as ordered")
    chief.shoot("2 approves")
    chief.click(chief.button("Approve"))
    chief.until("approved", "document.querySelector('.badge').textContent === 'Approved'")
    assert "Carries a key release" in chief.evaluate(
        "document.querySelector('.request-history').innerText"
    )
    chief.shoot("3 approved")


def take_home(guard: Person, asked: dict[str, Any]) -> None:
    guard.click(guard.button("Requests"))
    guard.click(guard.button(asked["id"]))
    guard.until("its file", f"{guard.button('Request file')} !== undefined")
    guard.shoot("4 request")
    guard.click(guard.button("Request file"))
    guard.click(guard.button("Protected clip"))


def open_it(
    site: Site, asked: dict[str, Any], chosen: dict[str, Any], request: Path, clip: Path
) -> None:
    """On the officer's machine: one of the two is shown, and nobody else."""
    opened = clip.with_name("opened.mp4")
    done = bauta(
        *("recover", clip, opened, "--request", request, "--key", site.officer.key, "--json"),
        *("--console", site.console_pub, "--service", site.state / "service.pub"),
    )
    assert done.code == 0, done.err
    assert done.result["request"] == {"id": asked["id"], "verified": True, "lock": True}
    assert done.result["tracks"] == [chosen["track"]]
    for seen in as_filmed(site.film, clip):
        assert_protected(seen)
    who = 0 if chosen["largest_px"] > LARGER_PX else 1
    shown = as_filmed(site.film, opened)
    assert max(seen.face_db(1 - who) for seen in shown) < HIDDEN_DB
    # where frames are lost on a busy machine, a track goes on for a while without its face
    assert sum(seen.face_db(who) > SHOWN_DB for seen in shown) > chosen["frames"] / 2

    manifest = opened.with_name("opened.mp4.manifest.json")
    verified = bauta("audit", "verify", "--manifest", manifest)
    assert verified.code == 0 and ": whole, " in verified.out, verified.err
    told = [json.loads(line) for line in (site.state / "audit.jsonl").read_text().splitlines()]
    steps = [(one["action"], one.get("user")) for one in told if one["action"] not in OTHERS]
    me = getpass.getuser()
    assert steps == [
        *[("request", "guard"), ("export", "chief"), ("release", me), ("approve", "chief")],
        *[("request-file", "guard"), ("export", "guard"), ("recover", me)],
    ]
    recovered = told[-1]["request"]
    assert (recovered["id"], recovered["approval"]) == (asked["id"], "lock")
    assert {one["user"] for one in told if one["action"] == "sign-in"} == {"guard", "chief"}


def test_ten_viewers_get_the_same_and_one_that_takes_nothing_costs_them_nothing(
    site: Site,
) -> None:
    with site.client("guard") as client, ExitStack() as stack:

        def watching() -> int:
            (yard,) = (one for one in client.get("/api/cameras").json() if one["id"] == "yard")
            return int(yard["viewers"])

        dropped = site.console_dropped("yard")
        viewers = [stack.enter_context(Viewer(client, "yard")) for _ in range(VIEWERS)]
        wait_for("all of them", lambda: watching() == VIEWERS)
        with StuckViewer(client, "yard") as stuck:
            wait_for("one more", lambda: watching() == VIEWERS + 1)
            wait_for("it is given up", lambda: watching() == VIEWERS, every_s=0.3)
            assert stuck.is_cut_off(10)
        last = max(viewers[0].taken.numbers)
        wait_for("all have that", lambda: all(last in each.taken.fragments for each in viewers))
        taken = [each.taken for each in viewers]
        assert site.console_dropped("yard") == dropped
    first = max(each.numbers[0] for each in taken)
    assert last - first > 20
    for each in taken:
        assert each.streams == 1 and each.init == taken[0].init
        numbers = each.numbers
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "a gap"
        assert is_keyframe_first(each.init + each.fragments[numbers[0]])
        for number in range(first, last + 1):
            assert each.fragments[number] == taken[0].fragments[number]


def is_keyframe_first(data: bytes) -> bool:
    with av.open(io.BytesIO(data), "r") as container:
        return next(container.demux(video=0)).is_keyframe


# --- what whoever breaks into the console finds there ---


def test_the_console_holds_no_secret_and_no_unprotected_pixel(site: Site) -> None:
    parent, child = psutil.Process(site.run.process.pid), site.console
    environment = child.environ()
    secrets = {CAMERA_LOGIN[1], OTHER_SECRET}
    assert not secrets & set(environment.values())
    assert child.cmdline()[0] == "bauta console" and not "".join(child.cmdline()[1:]).strip()

    # none of the cameras' connections, and nothing that is open in both
    cameras = {urlsplit(site.lobby_url).port, site.yard.port}
    assert {one.raddr.port for one in parent.net_connections() if one.raddr} >= cameras
    assert not {one.raddr.port for one in child.net_connections() if one.raddr} & cameras
    assert not sockets_of(parent) & sockets_of(child)


def sockets_of(process: psutil.Process) -> set[str]:
    """The kernel's names of all that it has open, also of those that are no network."""
    handles = Path(f"/proc/{process.pid}/fd").iterdir()
    found = {str(handle.readlink()) for handle in handles}
    return {name for name in found if name.startswith("socket:")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of these processes")
def test_the_consoles_memory_holds_no_secret_and_no_unprotected_pixel(site: Site) -> None:
    with Tap(site.lobby_url) as tap:
        wait_for("pictures", lambda: tap.count > 3 * FPS)
        with frozen(site.console) as child:
            memory = memory_of(child.pid)
        kept = list(live_memory_of(site.run.process.pid))
        at = tap.count
        wait_for("what was on the way", lambda: tap.count > at + FPS)
    secret = (
        *keys_of(site.state / "service.key"),
        *keys_of(site.console_pub.with_suffix(".key")),
        *(("camera", text.encode()) for text in (CAMERA_LOGIN[1], site.lobby_url)),
        ("other", OTHER_SECRET.encode()),
    )
    faces, coded = list(tap.faces(site.film)), list(tap.coded())
    assert len(faces) > 1000 and len(coded) > FPS
    needles = Needles([*secret, *faces, *coded])
    assert {name for region in memory for name in needles.found_in(region)} == {"console.key"}
    # it looks where they would be
    missing = {"service.key", "camera", "other", "face", "coded"}
    for region in kept:
        missing -= {name.split()[0] for name in needles.found_in(region)}
        if not missing:
            break
    assert missing == set()


@contextmanager
def frozen(process: psutil.Process) -> Iterator[psutil.Process]:
    process.suspend()
    try:
        yield process
    finally:
        process.resume()


def keys_of(path: Path) -> list[tuple[str, bytes]]:
    """As they are in the file, and as they are worked with."""
    pem = path.read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    return [(path.name, pem.splitlines()[1]), (path.name, key.private_bytes_raw())]


# --- what dies comes back ---


def test_a_camera_that_dies_is_explained_and_comes_back(site: Site, tmp_path: Path) -> None:
    tile = TILE % "yard"
    with Person(f"{site.url}#/live", tmp_path, "guard") as guard:
        guard.sign_in_with(PASSWORDS["guard"])
        guard.until_it_plays("yard")
        guard.evaluate("window.isTheSamePage = true")
        died_ms = time.time() * 1000
        site.yard.kill()
        guard.until("it is down", f"{tile}.dataset.state === 'down'")
        guard.shoot("camera down")
        with site.client("guard") as client:

            def explained() -> list[Any]:
                """What the API says, once the page says the same; the reason may change."""
                words = guard.evaluate(f"{tile}.querySelector('.veil').textContent")
                facts = {one["id"]: one for one in client.get("/api/cameras").json()}["yard"]
                return [facts, words] if facts["error"] and facts["error"] in words else []

            yard, words = wait_for("the reason", explained)
        assert yard["state"] in ("down", "reconnecting") and "since" in words
        assert str(site.yard.port) not in words, "where cameras are is not for everybody"
        assert died_ms - 1000 < yard["since_ms"] < time.time() * 1000
        frames = guard.stats("yard")["frames"]
        site.yard.start()
        guard.until("no veil", f"{tile}.querySelector('.veil').hidden")
        guard.until("it plays again", f"{tile}.tile.stats.frames > {frames} + 5")
        assert guard.evaluate("window.isTheSamePage") is True
        assert guard.errors == []


def test_a_console_that_is_killed_costs_no_frame_and_comes_back(site: Site, tmp_path: Path) -> None:
    with Person(f"{site.url}#/live", tmp_path, "guard") as guard:
        guard.sign_in_with(PASSWORDS["guard"])
        guard.until_it_plays("lobby")
        guard.evaluate("window.isTheSamePage = true")
        killed, frames = site.console, guard.stats("lobby")["frames"]
        recorded, before = recorded_bytes(site), site.status()
        killed.kill()
        guard.until("it says so", f"{PROBLEM} !== null")
        guard.shoot("console gone")
        wait_for("recordings grow", lambda: recorded_bytes(site) > recorded)
        wait_for("frames", lambda: site.status()["frames_out"] > before["frames_out"] + FPS)
        guard.until("it is back", f"!({PROBLEM}?.checkVisibility())")
        guard.until("it plays again", f"{TILE % 'lobby'}.tile.stats.frames > {frames} + 5")
        guard.until("no veil", f"{TILE % 'lobby'}.querySelector('.veil').hidden")
        guard.shoot("console back")
        assert guard.evaluate("window.isTheSamePage") is True
        assert guard.errors == []
    assert site.console.pid != killed.pid
    status = site.run.all_status("lobby")
    assert status[-1]["reconnects"] == before["reconnects"]
    counters = [one["frames_out"] for one in status]
    assert counters == sorted(counters), "a camera started anew"
    assert "Traceback" not in site.run.err


def recorded_bytes(site: Site) -> int:
    return sum(path.stat().st_size for path in site.recordings.glob("*.mp4"))
