"""A console's process with a server of ten lines in place of the real one; run by `ConsoleFeed`.

GET /facts, /plan, /environment, /refusal/CAMERA, /live/CAMERA (init and the fragments since the
last keyframe), /count/CAMERA (frames that a viewer got), /count/CAMERA/init; in the console's
folder a file `fail` is a reason not to start.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.review.live.pieces import InitSegment
from pipeline.review.plan import ConsolePlan
from pipeline.review.process import main

if TYPE_CHECKING:  # they start threads
    from pipeline.review.live.facts import CameraFacts
    from pipeline.review.live.hub import LiveHub


def serve(
    plan: ConsolePlan,
    *,
    hub: LiveHub,
    facts: CameraFacts,
    stop: threading.Event,
    ready: Callable[[str], None],
) -> None:
    """See review.server.serve."""
    reason = plan.own_dir / "fail"
    if reason.exists():
        raise UsageError(reason.read_text())
    seen: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, camera = self.path[1:].partition("/")
            body = b""
            if kind == "facts":
                body = json.dumps([fact.as_dict() for fact in facts.all()]).encode()
            elif kind == "plan":
                about = {
                    "site": plan.site,
                    "cameras": plan.cameras,
                    "folders": [str(folder) for folder in plan.folders],
                    "demo": [[one.name, one.password, one.roles] for one in plan.demo],
                }
                body = json.dumps(about).encode()
            elif kind == "environment":
                body = json.dumps(dict(os.environ)).encode()
            elif kind == "live" and (stream := hub.stream(camera)) is not None:
                body = stream.init.data + b"".join(f.data for f in stream.group)
            elif kind == "count":
                body = str(seen[camera]).encode()
            elif kind == "refusal":
                body = (hub.refusal(camera) or "").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    async def look(camera: str) -> None:
        async with hub.watch(camera, timeout_seconds=0.2) as viewer:
            while not stop.is_set():
                try:
                    items = await viewer.next()
                except TimeoutError:
                    continue
                for item in items:
                    if isinstance(item, InitSegment):
                        seen[f"{camera}/init"] += 1
                    else:
                        seen[camera] += item.data.count(b"moof")

    async def look_at_all() -> None:
        await asyncio.gather(*map(look, plan.cameras))

    server = ThreadingHTTPServer(("127.0.0.1", plan.settings.port), Handler)
    server.daemon_threads = True
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}),
        threading.Thread(target=asyncio.run, args=(look_at_all(),)),
    ]
    for thread in threads:
        thread.start()
    ready(f"http://127.0.0.1:{server.server_port}/")
    stop.wait()
    server.shutdown()
    server.server_close()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], serve))
