"""The review console: glass to browser, what it costs idle and per viewer, how soon a page stands.

Runs `bauta run` on a simulated camera without a console, with one that nobody looks at, and with
viewers on its WebSocket; then a real Chromium looks at the wall. The database's queries are timed
by `bauta bench console_index`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from ._console_page import glass_to_browser_ms, guard, opened
from ._live import ROOT, cameras, process_cpu_seconds
from .report import Column, Report, add_output_options, progress

COLUMNS = (
    Column("what", "what"),
    Column("value", "measured", 2),
    Column("unit", "unit"),
    Column("target", "target", 2),
    Column("met", "met"),
    Column("said", "remarks"),
)
NAME, PASSWORD = "guard", "a bench needs no secret"
FIRST_PICTURE_SECONDS = 40.0


def measure(options: argparse.Namespace, report: Report) -> None:
    """All parts, on one camera."""
    with (
        tempfile.TemporaryDirectory(prefix="bauta-bench-") as made,
        cameras(1, options.size, options.fps, options.faces) as filmed,
    ):
        folder = Path(made)
        used: dict[str, list[float]] = {"none": [], "idle": [], "viewers": []}
        facts: dict[str, dict[str, Any]] = {}
        for block in range(options.blocks):
            for what, cores in used.items():
                cores.append(_block(what, folder, filmed[0].url, options, facts))
                progress(f"block {block + 1}/{options.blocks}, {what}: {cores[-1]:.3f} cores")
        _add_costs(report, used, facts, options)
        if not options.no_browser:
            _add_page(report, folder, filmed[0].url, options)


def _block(
    what: str,
    folder: Path,
    url: str,
    options: argparse.Namespace,
    facts: dict[str, dict[str, Any]],
) -> float:
    """Cores used by Bauta's processes."""
    with _bauta(folder, url, options, has_console=what != "none") as (process, page):
        time.sleep(options.settle)
        viewers = _start_viewers(page, options) if what == "viewers" else None
        try:
            if viewers is not None:
                time.sleep(2.0)
            before = _tree_cpu_seconds(process.pid)
            begun = time.monotonic()
            time.sleep(options.seconds)
            spent = _tree_cpu_seconds(process.pid) - before
            taken = time.monotonic() - begun
            if page is not None:
                with _signed_in(page) as client:
                    facts[what] = client.get("/api/cameras").json()[0]
        finally:
            if viewers is not None:
                viewers.terminate()
                viewers.wait(10)
    return spent / taken


@contextmanager
def _bauta(
    folder: Path, url: str, options: argparse.Namespace, *, has_console: bool
) -> Iterator[tuple[subprocess.Popen[str], str | None]]:
    """`bauta run` with one camera, and its console's address."""
    config = folder / "bauta.yaml"
    tree: dict[str, Any] = {
        "console": {"port": 0} if has_console else None,
        "cameras": [{"id": "lobby", "source": url, "encode": {"gop": 1.0}}],
    }
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    environment = os.environ | {"BAUTA_STATE": str(folder / "state"), "BAUTA_PASSWORD": PASSWORD}
    bauta = [sys.executable, "-m", "pipeline"]
    if not (folder / "state").exists():
        made = [*bauta, "users", "add", NAME]
        subprocess.run(made, cwd=ROOT, env=environment, check=True, capture_output=True)
    with subprocess.Popen(
        [*bauta, "run", str(config)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            page = _address(process) if has_console else None
            if page is not None:
                _wait_for_picture(page)
            yield process, page
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if "console: http" in line:
            return line.split("console: ")[1].split()[0]
    raise RuntimeError("bauta run served no console")


@contextmanager
def _signed_in(page: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page, timeout=10.0) as client:
        words = {"name": NAME, "password": PASSWORD}
        client.post("/api/session", json=words).raise_for_status()
        yield client


def _wait_for_picture(page: str) -> None:
    deadline = time.monotonic() + FIRST_PICTURE_SECONDS
    with _signed_in(page) as client:
        while time.monotonic() < deadline:
            if any(camera["state"] == "up" for camera in client.get("/api/cameras").json()):
                return
            time.sleep(0.25)
    raise RuntimeError(f"no live picture within {FIRST_PICTURE_SECONDS:g} s")


def _start_viewers(page: str | None, options: argparse.Namespace) -> subprocess.Popen[str]:
    """In a process of their own: what they cost is not Bauta's."""
    assert page is not None
    with _signed_in(page) as client:
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    command = [sys.executable, "-m", "benchmarks._console_viewers", page, str(options.viewers)]
    viewers = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert viewers.stdin is not None and viewers.stdout is not None
    print(cookies, file=viewers.stdin, flush=True)  # not an argument: arguments are public
    if viewers.stdout.readline().strip() != "watching":
        raise RuntimeError("the viewers could not connect")
    return viewers


def _tree_cpu_seconds(pid: int) -> float:
    """Of a process and its children, so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return process_cpu_seconds(pid) + sum(_tree_cpu_seconds(int(child)) for child in children)


def _add_costs(
    report: Report,
    used: dict[str, list[float]],
    facts: dict[str, dict[str, Any]],
    options: argparse.Namespace,
) -> None:
    idle = 100 * np.array([b - a for a, b in zip(used["none"], used["idle"], strict=True)])
    pairs = zip(used["idle"], used["viewers"], strict=True)
    viewer = 100 * np.array([b - a for a, b in pairs]) / options.viewers
    each = f"each of {len(idle)} blocks: "
    _add(report, "idle camera", float(np.median(idle)), "% of a core", 5.0, each + _list(idle))
    _add(report, "a viewer", float(np.median(viewer)), "% of a core", 3.0, each + _list(viewer))
    for what in ("idle", "viewers"):
        fact = facts[what]
        report.notes.append(
            f"{what}: {fact['frames_per_second']:.1f} frames/s, p95 "
            f"{fact['latency_p95_ms']:.0f} ms from decoded to encoded, {fact['dropped']} dropped"
        )


def _add_page(report: Report, folder: Path, url: str, options: argparse.Namespace) -> None:
    with _bauta(folder, url, options, has_console=True) as (_, page):
        assert page is not None
        with guard(page, NAME, PASSWORD, folder / "profile") as browser:
            walls, pictures = [], []
            for _ in range(options.visits):
                browser.call("Page.navigate", url=f"{page}healthz")
                time.sleep(1.0)
                wall, picture = opened(browser, page)
                walls.append(wall)
                pictures.append(picture)
            time.sleep(options.settle)
            late, unreadable = glass_to_browser_ms(browser, options.seconds)
    each = "visits: "
    _add(report, "page usable", float(np.median(walls)) / 1e3, "s", 1.0, each + _list(walls))
    _add(report, "first picture", float(np.median(pictures)) / 1e3, "s", None, _list(pictures))
    if not late.size:
        raise RuntimeError("no time code could be read off the page")
    said = f"{late.size} frames, {unreadable} unreadable"
    _add(report, "glass to browser p50", float(np.percentile(late, 50)), "ms", None, said)
    _add(report, "glass to browser p95", float(np.percentile(late, 95)), "ms", 700.0, said)
    _add(report, "glass to browser p99", float(np.percentile(late, 99)), "ms", None, said)


def _add(
    report: Report, what: str, value: float, unit: str, target: float | None, said: str
) -> None:
    met = None if target is None else value <= target
    report.rows.append(
        {"what": what, "value": value, "unit": unit, "target": target, "met": met, "said": said}
    )


def _list(values: Any) -> str:
    return ", ".join(f"{float(value):.1f}" for value in values)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench console", description=__doc__)
    parser.add_argument("--size", default="1280x720", help="of the camera (default: 1280x720)")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--faces", type=int, default=3, help="in each picture, 0 to 5")
    parser.add_argument("--viewers", type=int, default=10, help="WebSocket clients of the camera")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, for each part")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds not measured at starts")
    parser.add_argument("--blocks", type=int, default=3, help="rounds of none, idle, viewers")
    parser.add_argument("--visits", type=int, default=5, help="of the page")
    parser.add_argument("--no-browser", action="store_true", help="leave Chromium's part out")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if min(options.viewers, options.blocks, options.visits) < 1 or options.seconds <= 0:
        parser.error("--viewers, --blocks, --visits and --seconds must be positive")
    names = "size fps faces viewers seconds blocks visits"
    settings = {key: getattr(options, key) for key in names.split()}
    report = Report("console", COLUMNS, settings)
    try:
        measure(options, report)
    except (RuntimeError, httpx.HTTPError, subprocess.SubprocessError) as error:
        progress(f"console: {error}")
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
