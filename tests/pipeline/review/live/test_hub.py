"""The hub: every viewer gets a stream that decodes, and none slows the camera."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from pipeline.review.live.hub import (
    GROUP_BYTES,
    VIEWER_BYTES,
    VIEWER_FRAGMENTS,
    Fragment,
    InitSegment,
    LiveHub,
    Viewer,
)
from support.live import GROUP, fragment, levels, live_stream

INIT = InitSegment(b"init", "avc1.42C01F", 1280, 720)
OTHER = InitSegment(b"other", "avc1.64001F", 640, 480)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(within())


async def in_thread(work: Callable[[], None]) -> None:
    """The writer's side is another thread, as in the product."""
    await asyncio.to_thread(work)


def data_of(items: list[InitSegment | Fragment]) -> bytes:
    return b"".join(item.data for item in items)


def test_a_viewer_who_comes_late_decodes_from_the_last_keyframe() -> None:
    init, fragments = live_stream(38)
    hub = LiveHub()

    async def work() -> None:
        hub.begin("lobby", init)
        for one in fragments[:25]:
            hub.publish("lobby", one)
        async with hub.watch("lobby") as viewer:
            assert hub.viewers("lobby") == 1
            for one in fragments[25:]:
                hub.publish("lobby", one)
            items = await viewer.next()
        assert items[0] is init
        assert [type(item) for item in items] == [InitSegment, Fragment]  # joined into one
        seen = levels(data_of(items))
        assert len(seen) == 38 - 20  # the last keyframe before it came
        np.testing.assert_allclose(np.diff(seen), 1, atol=1)
        assert hub.viewers("lobby") == 0
        assert viewer.dropped == 0

    run(work)
    stream = hub.stream("lobby")
    assert stream is not None and stream.group == tuple(fragments[30:])


def test_a_waiting_viewer_gets_each_frame_at_once_and_nothing_twice() -> None:
    hub = LiveHub()
    total = VIEWER_FRAGMENTS - 10  # none can be dropped, however busy the machine is

    async def read(viewer: Viewer) -> bytes:
        seen = b""
        while seen.count(b"|") < total:
            seen += data_of(await viewer.next())
        return seen

    async def work() -> None:
        async with hub.watch("a") as one, hub.watch("a") as two:
            readers = asyncio.gather(read(one), read(two))

            def write() -> None:
                hub.begin("a", INIT)
                for number in range(total):
                    hub.publish("a", Fragment(b"%d|" % number, number % GROUP == 0))
                    time.sleep(0.0005)

            await in_thread(write)
            expected = b"init" + b"".join(b"%d|" % number for number in range(total))
            assert tuple(await readers) == (expected, expected)

    run(work)


def test_one_wake_for_all_viewers_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = LiveHub()
    hub.begin("a", INIT)
    hub.publish("a", fragment("K"))
    calls = 0

    async def work() -> None:
        nonlocal calls
        loop = asyncio.get_running_loop()
        original = loop.call_soon_threadsafe

        def counted(*args: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            return original(*args, **more)  # type: ignore[arg-type]

        async with hub.watch("a") as one, hub.watch("a") as two, hub.watch("a") as three:
            for viewer in (one, two, three):
                await viewer.next()
            waiting = asyncio.gather(*(viewer.next() for viewer in (one, two, three)))
            await asyncio.sleep(0)
            monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            for _ in range(5):
                hub.publish("a", fragment("p"))
            assert calls == 1
            assert {len(items) for items in await waiting} == {1}
            for _ in range(5):
                hub.publish("a", fragment("p"))  # nobody waits
            assert calls == 1

    run(work)


def test_a_viewer_who_lags_is_dropped_to_a_keyframe_and_slows_nobody() -> None:
    hub = LiveHub()
    total = 10 * VIEWER_FRAGMENTS

    async def work() -> None:
        hub.begin("a", INIT)
        async with hub.watch("a") as slow, hub.watch("a") as quick:
            taken = 0
            for index in range(total):
                hub.publish("a", fragment("K" if index % GROUP == 0 else "p", 1))
                taken += len(data_of(await quick.next()).removeprefix(b"init"))
            waiting = await slow.next()
            assert taken == total and quick.dropped == 0
            first, rest = waiting
            assert first is INIT  # it must not get lost with the frames
            assert isinstance(rest, Fragment) and rest.is_keyframe
            assert 0 < len(rest.data) <= VIEWER_FRAGMENTS
            assert len(rest.data) + slow.dropped == total

    run(work)


def test_large_fragments_are_bounded_too() -> None:
    hub = LiveHub()
    size = VIEWER_BYTES // 4

    async def work() -> None:
        hub.begin("a", INIT)
        async with hub.watch("a") as viewer:
            for index in range(10):
                hub.publish("a", fragment("K" if index % 3 == 0 else "p", size))
            waiting = data_of(await viewer.next()).removeprefix(b"init")
            assert waiting.startswith(b"K")
            assert len(waiting) <= VIEWER_BYTES + size

    run(work)


def test_a_group_without_end_is_not_kept_for_new_viewers() -> None:
    hub = LiveHub()

    async def work() -> None:
        hub.begin("a", INIT)
        hub.publish("a", fragment("K"))
        for _ in range(5):
            hub.publish("a", fragment("p", GROUP_BYTES // 4))
        async with hub.watch("a") as late:
            hub.publish("a", fragment("p"))
            hub.publish("a", fragment("K"))
            assert await late.next() == [INIT, fragment("K")]

    run(work)


def test_a_viewer_outlives_a_stream() -> None:
    hub = LiveHub()

    async def work() -> None:
        assert hub.waiting("a") == "no picture has come yet"
        async with hub.watch("a", timeout_seconds=0.05) as viewer:
            with pytest.raises(TimeoutError):
                await viewer.next()
            hub.begin("a", INIT)
            hub.publish("a", fragment("K"))
            assert hub.waiting("a") is None
            assert await viewer.next() == [INIT, fragment("K")]

            pending = asyncio.ensure_future(viewer.next())
            await asyncio.sleep(0)
            await in_thread(lambda: hub.end("a", "the camera has gone"))
            assert await pending == []
            assert hub.waiting("a") == "the camera has gone"
            assert hub.stream("a") is None
            hub.publish("a", fragment("K"))  # of no stream
            with pytest.raises(TimeoutError):
                await viewer.next()

            hub.begin("a", OTHER)
            hub.publish("a", fragment("p"))
            hub.publish("a", fragment("K"))
            assert await viewer.next() == [OTHER, fragment("K")]
            assert viewer.dropped == 1
            assert hub.viewers("a") == 1

    run(work)


def test_frames_before_the_end_still_come() -> None:
    hub = LiveHub()

    async def work() -> None:
        hub.begin("a", INIT)
        async with hub.watch("a") as viewer:
            hub.publish("a", fragment("K"))
            hub.end("a", "over")
            assert await viewer.next() == [INIT, fragment("K")]
            assert await viewer.next() == []

    run(work)


def test_a_new_stream_replaces_what_waits_of_the_old_one() -> None:
    hub = LiveHub()

    async def work() -> None:
        hub.begin("a", INIT)
        async with hub.watch("a") as viewer:
            hub.publish("a", fragment("K"))
            hub.begin("a", OTHER)
            hub.publish("a", fragment("K", 3))
            assert await viewer.next() == [OTHER, fragment("K", 3)]
            assert viewer.dropped == 1

    run(work)


def test_a_refusal_is_kept_until_there_is_a_stream() -> None:
    hub = LiveHub()
    assert hub.refusal("a") is None
    hub.refuse("a", "H.265 does not play in browsers")
    assert hub.refusal("a") == hub.waiting("a") == "H.265 does not play in browsers"
    hub.begin("a", INIT)
    assert hub.refusal("a") is None and hub.waiting("a") is None


def test_cameras_that_are_gone_are_forgotten() -> None:
    hub = LiveHub()
    hub.begin("a", INIT)
    hub.begin("b", INIT)
    hub.keep_only(("b",))
    assert hub.stream("a") is None and hub.stream("b") is not None


def test_closing_tells_whoever_waits() -> None:
    hub = LiveHub()

    async def work() -> None:
        async with hub.watch("a") as viewer:
            pending = asyncio.ensure_future(viewer.next())
            await asyncio.sleep(0)
            await in_thread(hub.close)
            hub.close()
            assert await pending == []
        hub.begin("a", INIT)  # a writer that comes after the end
        assert hub.stream("a") is None
        async with hub.watch("a") as late:
            assert await late.next() == []

    run(work)


def test_a_loop_that_has_gone_disturbs_no_writer() -> None:
    hub = LiveHub()
    hub.begin("a", INIT)
    held: list[object] = []

    async def leave_behind() -> None:
        context = hub.watch("a")
        viewer = await context.__aenter__()
        await viewer.next()
        held.append(context)
        asyncio.get_running_loop().create_task(viewer.next())
        await asyncio.sleep(0)
        viewer._waiter = asyncio.get_running_loop().create_future()  # as if it still waited

    asyncio.run(leave_behind())
    hub.publish("a", fragment("K"))
    hub.end("a", "over")


def test_many_writers_and_readers_lose_nothing() -> None:
    hub = LiveHub()
    cameras = [f"cam{number}" for number in range(4)]
    total = VIEWER_FRAGMENTS - 10

    async def read(camera: str) -> bytes:
        seen = b""
        async with hub.watch(camera, timeout_seconds=5) as viewer:
            while not seen.endswith(b"end|"):
                seen += data_of(await viewer.next())
            assert viewer.dropped == 0
        return seen

    def write(camera: str) -> None:
        hub.begin(camera, INIT)
        for number in range(total):
            hub.publish(camera, Fragment(b"%d|" % number, number % GROUP == 0))
            if number % 20 == 0:
                time.sleep(0.001)
        hub.publish(camera, Fragment(b"end|", False))

    async def work() -> None:
        readers = asyncio.gather(*(read(camera) for camera in cameras for _ in range(5)))
        await asyncio.sleep(0)
        threads = [threading.Thread(target=write, args=(camera,)) for camera in cameras]
        for thread in threads:
            thread.start()
        expected = b"init" + b"".join(b"%d|" % n for n in range(total)) + b"end|"
        assert set(await readers) == {expected}
        for thread in threads:
            thread.join()

    run(work)
