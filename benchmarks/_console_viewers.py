"""Viewers of one camera's live picture, until stopped: they take every fragment, and drop it.

`python -m benchmarks._console_viewers URL COUNT`; the session's cookie comes on standard input.
"""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.client import connect

CAMERA = "lobby"
WARM_MESSAGES = 5  # of each, before they say that they watch


async def _watch(url: str, origin: str, cookie: str, ready: asyncio.Semaphore) -> None:
    headers = {"Cookie": cookie, "Origin": origin}
    async with connect(url, additional_headers=headers, compression=None, max_size=None) as socket:
        taken = 0
        async for _ in socket:
            taken += 1
            if taken == WARM_MESSAGES:
                ready.release()


async def _run(page: str, count: int, cookie: str) -> None:
    origin = page.rstrip("/")
    url = f"ws{origin.removeprefix('http')}/api/cameras/{CAMERA}/live"
    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_watch(url, origin, cookie, ready))
        for _ in range(count):
            await asyncio.wait_for(ready.acquire(), 20.0)
        print("watching", flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), sys.stdin.readline().strip()))
