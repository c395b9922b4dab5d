"""Recordings through the API: what is listed, bytes by range, where files may lie, exports."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.review.api import file_answer
from pipeline.review.api.errors import ApiError
from pipeline.review.api.file_answer import open_inside, range_of
from pipeline.review.media import export
from pipeline.review.store import accounts, people, recordings
from pipeline.vault.audit import audit_path, check
from support.console import START_MS, Client, Console, running_console

END_MS = START_MS + 3000
SPAN = {"from_ms": START_MS, "to_ms": END_MS}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def guard(console: Console) -> Iterator[Client]:
    with console.signed_in("guard") as client:
        yield client


@pytest.fixture(scope="module")
def segments(guard: Client) -> list[dict[str, Any]]:
    answer = guard.get("/api/recordings", params={"camera": "lobby", **SPAN})
    found: list[dict[str, Any]] = answer.json()["segments"]
    return found


def path_of(console: Console, segment: dict[str, Any]) -> Path:
    with console.database() as database:
        found = recordings.segment(database, segment["id"])
    assert found is not None
    return Path(found.path)


def test_what_is_listed(console: Console, segments: list[dict[str, Any]]) -> None:
    assert [one["start_ms"] - START_MS for one in segments] == [0, 1200, 2400]
    assert [one["end_ms"] - START_MS for one in segments] == [1200, 2400, 3000]
    for one in segments:
        path = path_of(console, one)
        assert one["bytes"] == path.stat().st_size
        assert (one["width"], one["height"], one["fps"], one["codec"]) == (256, 192, 25.0, "h264")
        assert one["playable"] and one["refusal"] is None and not one["growing"]
        assert one["evidence"] and one["problem"] is None
        assert str(path.parent) not in str(one), "no path of the server is told"


def test_the_first_of_a_window(guard: Client, segments: list[dict[str, Any]]) -> None:
    window: dict[str, str | int] = {
        "camera": "lobby",
        "from_ms": START_MS - 10_000,
        "to_ms": START_MS + 10_000,
    }
    for limit in (1, 2):
        found = guard.get("/api/recordings", params={**window, "limit": limit}).json()
        assert found["segments"] == segments[:limit]
    assert guard.get("/api/recordings", params={**window, "limit": 0}).status_code == 422


def test_who_came_in_a_span(guard: Client) -> None:
    came = {"begins_after_ms": START_MS + 1200, "begins_before_ms": START_MS + 1201}
    (one,) = guard.get("/api/people", params=came).json()["people"]
    assert (one["camera"], one["track"]) == ("lobby", 2)


def test_days_and_timeline(guard: Client) -> None:
    (day,) = guard.get("/api/days?offset_minutes=60").json()["days"]
    assert day["day"] == "2026-11-18"
    assert day["start_ms"] == 1_794_956_400_000  # midnight in Rome is 23:00 UTC
    assert day["cameras"] == [
        {"id": "lobby", "seconds": 3.0, "people": 2},
        {"id": "yard", "seconds": 3.0, "people": 1},
    ]
    found = guard.get("/api/timeline", params={**SPAN, "buckets": 3}).json()
    assert (found["bucket_ms"], [one["id"] for one in found["cameras"]]) == (
        1000,
        ["lobby", "yard"],
    )
    lobby = found["cameras"][0]
    assert lobby["segments"] == [[START_MS, END_MS]]
    assert lobby["people"] == [1, 2, 2], "the second comes with the second file"
    assert sum(lobby["obscured"]) == 5


def test_fragments_are_where_the_file_has_them(
    console: Console, guard: Client, segments: list[dict[str, Any]]
) -> None:
    for one in segments:
        found = guard.get(f"/api/recordings/{one['id']}/fragments").json()
        data = path_of(console, one).read_bytes()
        assert found["mime"] == one["mime"] and found["mime"].startswith('video/mp4; codecs="avc1.')
        offset, size = found["init"]
        init = data[offset : offset + size]
        assert init[4:8] == b"ftyp" and found["fps"] == 25.0 and not found["growing"]
        length = 0.0
        for seconds, long, offset, size in found["fragments"]:
            assert seconds == pytest.approx(length)
            length += long
            part = data[offset : offset + size]
            assert part[4:8] == b"moof"
            with av.open(io.BytesIO(init + part), "r") as container:
                frames = list(container.decode(video=0))
            assert len(frames) == round(long * 25) and frames[0].key_frame
        assert length == pytest.approx((one["end_ms"] - one["start_ms"]) / 1000)


def test_bytes_by_range(console: Console, guard: Client, segments: list[dict[str, Any]]) -> None:
    url = f"/api/recordings/{segments[0]['id']}/media"
    data = path_of(console, segments[0]).read_bytes()
    size = len(data)
    whole = guard.get(url)
    assert whole.status_code == 200 and whole.content == data
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["cache-control"] == "no-store"
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=100-", 100, size - 1),
        ("bytes=-7", size - 7, size - 1),
        (f"bytes=0-{size * 2}", 0, size - 1),
        (f"bytes=-{size * 2}", 0, size - 1),
        ("Bytes = 5 - 6", 5, 6),
    ):
        part = guard.get(url, headers={"Range": asked})
        assert part.status_code == 206, asked
        assert part.content == data[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["content-length"] == str(last - first + 1)
    for asked in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        none = guard.get(url, headers={"Range": asked})
        assert none.status_code == 416, asked
        assert none.headers["content-range"] == f"bytes */{size}"
        assert list(none.json()) == ["error"]
    for asked in ("bytes=9-3", "bytes=0-1,3-4", "lines=1-2", "bytes=x-", "bytes=-", "bytes=٣-"):
        passed_over = guard.get(url, headers={b"Range": asked.encode()})
        assert (passed_over.status_code, passed_over.content) == (200, data), asked
    known = guard.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = guard.head(url, headers={"Range": "bytes=10-19"})
    assert (head.status_code, head.headers["content-length"], head.content) == (206, "10", b"")


def test_ranges_without_a_server() -> None:
    assert range_of(None, 10) is None
    assert range_of("bytes=0-", 10) == (0, 10)
    with pytest.raises(ApiError) as caught:
        range_of("bytes=0-", 0)
    assert caught.value.status == 416


def test_a_growing_file_is_read_as_far_as_it_is(
    console: Console, guard: Client, segments: list[dict[str, Any]]
) -> None:
    path = path_of(console, segments[2])
    url = f"/api/recordings/{segments[2]['id']}/media"
    before = guard.get(url)
    with path.open("ab") as file:
        file.write(b"\x00\x00\x00\x10free" + b"12345678")
    after = guard.get(url)
    assert after.content == before.content + b"\x00\x00\x00\x10free12345678"
    assert after.headers["etag"] != before.headers["etag"]
    tail = guard.get(url, headers={"Range": f"bytes={len(before.content)}-"})
    assert tail.content == b"\x00\x00\x00\x10free12345678"


@pytest.mark.parametrize("way", ["link", "folder link", "elsewhere", "pipe", "gone", "directory"])
def test_what_lies_elsewhere_is_not_served(
    console: Console, guard: Client, segments: list[dict[str, Any]], tmp_path: Path, way: str
) -> None:
    """The path of a segment is believed only as far as the file that it opens lies inside."""
    secret = tmp_path / "secret.mp4"
    data = path_of(console, segments[1]).read_bytes()
    secret.write_bytes(data)
    folder = console.recordings
    path = folder / f"{way.replace(' ', '-')}_1.mp4"
    match way:
        case "link":
            path.symlink_to(secret)
        case "folder link":
            (folder / "sub").symlink_to(tmp_path)
            path = folder / "sub" / "secret.mp4"
        case "elsewhere":
            path = secret
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    with console.database() as database:
        facts = recordings.SegmentFacts(
            camera="lobby",
            path=str(path),
            start_ms=1,
            seconds=1.0,
            bytes=len(data),
            mtime_ns=1,
            width=256,
            height=192,
            fps=25.0,
            codec="h264",
            session="1" * 32,
            evidence=False,
            growing=False,
        )
        number = recordings.put_segment(database, facts).id
        try:
            for part in ("media", "fragments", "playlist.m3u8"):
                answer = guard.get(f"/api/recordings/{number}/{part}")
                assert answer.status_code == 404, part
                assert answer.json() == {"error": "there is no such recording"}
            listed = guard.get("/api/recordings?camera=lobby&from_ms=0&to_ms=100").json()
            assert listed["segments"][0]["mime"] == "video/mp4", "it was not read"
            span = {"camera": "lobby", "from_ms": 0, "to_ms": 1000}
            assert guard.post("/api/exports", json=span).status_code == 404
        finally:
            recordings.drop_segment(database, number)


def test_a_link_that_is_put_there_while_it_is_opened(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.mp4").write_bytes(b"x")
    file = open_inside(str(inside / "a.mp4"), [inside])
    assert (file.size, os.pread(file.handle, 9, 0)) == (1, b"x")
    file_answer.close(file)
    inside.rename(tmp_path / "old")
    inside.symlink_to(outside)
    linked = open_inside(str(inside / "a.mp4"), [inside])  # the folder itself may be a link
    file_answer.close(linked)
    for path in (f"{inside}/../out2/a.mp4", f"{tmp_path}/old/a.mp4", "/etc/passwd", "a\0b", ""):
        with pytest.raises(ApiError) as caught:
            open_inside(path, [inside])
        assert caught.value.status == 404
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(ApiError):
            open_inside("/etc/passwd", [inside])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_hangs_up_in_a_download_costs_no_more(
    console: Console, guard: Client, segments: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    pread = os.pread

    def counted(handle: int, count: int, offset: int) -> bytes:
        if count == 8:
            reads.append(offset)
            time.sleep(0.002)
        return pread(handle, count, offset)

    monkeypatch.setattr(file_answer, "PIECE_BYTES", 8)
    monkeypatch.setattr(os, "pread", counted)
    with socket.create_connection(("127.0.0.1", console.port), 10) as connection:
        connection.sendall(
            f"GET /api/recordings/{segments[0]['id']}/media HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Cookie: bauta_session={guard.cookies['bauta_session']}\r\n\r\n".encode()
        )
        assert connection.recv(12) == b"HTTP/1.1 200"
    deadline = time.monotonic() + 10
    while True:
        seen = len(reads)
        time.sleep(0.2)
        if len(reads) == seen:
            break
        assert time.monotonic() < deadline
    assert len(reads) < segments[0]["bytes"] // 8, "it was read to the end for nobody"


def test_hls_of_a_recording(guard: Client, segments: list[dict[str, Any]]) -> None:
    answer = guard.get(f"/api/recordings/{segments[0]['id']}/playlist.m3u8")
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert answer.text.startswith("#EXTM3U\n") and answer.text.endswith("#EXT-X-ENDLIST\n")
    assert '#EXT-X-MAP:URI="media"' in answer.text


def test_exports(console: Console, guard: Client) -> None:
    span = {"camera": "yard", "from_ms": START_MS + 1000, "to_ms": START_MS + 1500}
    made = guard.post("/api/exports", json=span)
    assert made.status_code == 201, made.text
    found = made.json()
    assert (found["start_ms"], found["end_ms"]) == (START_MS + 800, START_MS + 1600)
    assert found["stopped"] is None
    answer = guard.get(found["url"])
    assert answer.status_code == 200 and len(answer.content) == found["bytes"]
    assert answer.headers["content-disposition"] == f'attachment; filename="{found["name"]}"'
    with av.open(io.BytesIO(answer.content), "r") as container:
        assert len(list(container.decode(video=0))) == 20
    part = guard.get(found["url"], headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    for name in ("chief", "root", "looker"):
        with console.signed_in(name) as other:
            assert other.get(found["url"]).status_code in (403, 404), name
    assert guard.get(found["url"] + "x").status_code == 404
    (entry,) = (one for one in entries() if one["action"] == "export")
    assert {key: entry[key] for key in ("user", "camera", "from_ms", "to_ms")} == {
        "user": "guard",
        **span,
    }


def test_an_export_is_gone_with_the_permission(console: Console) -> None:
    span = {"camera": "yard", "from_ms": START_MS + 1000, "to_ms": START_MS + 1500}
    with console.database() as database:
        accounts.create(
            *(database, "temp", "temp password"),
            roles=["requester"],
            cameras=["lobby", "yard"],
            now_ms=1,
        )
        with console.signed_in("temp") as first:
            url = first.post("/api/exports", json=span).json()["url"]
            assert first.get(url).status_code == 200
        accounts.change(database, "temp", cameras=["lobby"])
        with console.signed_in("temp") as again:
            refused = again.get(url)
            assert refused.status_code == 404
            assert refused.json() == again.get(url + "x").json(), "as if it were not there"
        accounts.remove(database, "temp")


def test_nobody_waits_for_exports_of_others(
    console: Console, guard: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, began = threading.Event(), threading.Semaphore(0)
    real = export._write_clip

    def slow(*args: Any) -> Any:
        began.release()
        assert go_on.wait(20)
        return real(*args)

    monkeypatch.setattr(export, "_write_clip", slow)
    span = {"camera": "lobby", "from_ms": START_MS, "to_ms": START_MS + 1000}
    statuses: list[int] = []

    def ask(client: Client) -> None:
        statuses.append(client.post("/api/exports", json=span).status_code)

    people = guard.get("/api/people").json()["people"]
    with contextlib.ExitStack() as stack:
        stack.callback(go_on.set)
        clients = [stack.enter_context(console.signed_in(name)) for name in ("chief", "guard")]
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert began.acquire(timeout=20)
        refused = [guard.post("/api/exports", json=span) for _ in range(10)]
        assert {one.status_code for one in refused} == {429}
        assert "still being made" in refused[-1].json()["error"]
        assert refused[-1].headers["retry-after"] == "5"
        assert guard.get(f"/api/people/{people[0]['id']}/thumbnail.jpg").status_code == 200
        go_on.set()
        for thread in threads:
            thread.join(20)
    assert statuses == [201, 201]
    assert guard.post("/api/exports", json=span).status_code == 201


def test_exports_that_cannot_be(guard: Client) -> None:
    def asked(**changes: object) -> tuple[int, str]:
        span = {"camera": "lobby", "from_ms": START_MS, "to_ms": END_MS, **changes}
        answer = guard.post("/api/exports", json=span)
        return answer.status_code, answer.json()["error"]

    assert asked(to_ms=START_MS) == (422, "to_ms: must be after from_ms")
    assert asked(to_ms=START_MS + 90_000_000)[0] == 422
    assert asked(from_ms=5, to_ms=10) == (404, "there is no such recording in that time")
    assert asked(camera="vault") == (404, "there is no such camera")
    assert asked(from_ms="0")[0] == 422, "a number is no text"


def test_no_export_without_its_entry_in_the_log(tmp_path: Path) -> None:
    with running_console(tmp_path) as console, console.signed_in("guard") as guard:
        audit_path().write_bytes(b"damaged\n")
        span = {"camera": "lobby", **SPAN}
        refused = guard.post("/api/exports", json=span)
        assert refused.status_code == 503 and "audit log" in refused.json()["error"]
        assert not list((console.plan.own_dir / "exports").glob("*/*"))


# --- people ---


def test_people_and_their_pictures(guard: Client) -> None:
    page = guard.get("/api/people", params={"sort": "time", "limit": 2}).json()
    assert page["total"] == 3 and len(page["people"]) == 2 and page["next"]
    rest = guard.get(
        "/api/people", params={"sort": "time", "limit": 2, "after": page["next"]}
    ).json()
    everybody = [*page["people"], *rest["people"]]
    assert rest["next"] is None
    assert {(one["camera"], one["track"]) for one in everybody} == {
        ("lobby", 1),
        ("lobby", 2),
        ("yard", 1),
    }
    second = next(one for one in everybody if one["track"] == 2)
    assert (second["start_ms"], second["recoverable"]) == (START_MS + 1200, True)
    assert second["box_xywh_px"] == [80, 30, 50, 50] and second["largest_px"] == 50
    assert guard.get(f"/api/people/{second['id']}").json() == second
    picture = guard.get(f"/api/people/{second['id']}/thumbnail.jpg")
    assert picture.headers["content-type"] == "image/jpeg"
    with av.open(io.BytesIO(picture.content), "r") as container:
        (frame,) = container.decode(video=0)
        assert (frame.width, frame.height) == (240, 240)
    few = guard.get("/api/people?min_px=51&cameras=lobby").json()
    assert few == {"people": [], "next": None, "total": 0}
    assert guard.get("/api/people?recoverable=false").json()["total"] == 1
    bad = guard.get("/api/people", params={"sort": "-size", "after": page["next"]})
    assert bad.status_code == 422 and "after" in bad.json()["error"]


def test_a_person_whose_recording_is_gone(tmp_path: Path) -> None:
    with running_console(tmp_path) as console, console.signed_in("guard") as guard:
        with console.database() as database:
            found = people.find(database, people.PeopleQuery(cameras=["yard"])).people[0]
        for path in console.recordings.glob("yard_*"):
            path.unlink()
        answer = guard.get(f"/api/people/{found.id}/thumbnail.jpg")
        assert answer.status_code == 404


def entries() -> list[dict[str, Any]]:
    report = check(audit_path())
    assert report.faults == ()
    return [dict(line.fields) for line in report.lines if line is not None]
