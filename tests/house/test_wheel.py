"""The wheel as a stranger gets it: what is in it, and `bauta` run from it in a bare environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from skimage import data

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pipeline", "engines", "configs", "tests", "benchmarks")
FRAMES = 25
WIDTH, HEIGHT = 640, 360

pytestmark = [pytest.mark.slow, pytest.mark.untimed, pytest.mark.timeout(300)]


def run(
    *command: str | Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs to the end; a failure shows what the command said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source archive, then the wheel out of that archive, both from a copy of the tree."""
    folder = tmp_path_factory.mktemp("build")
    tree = folder / "tree"
    tree.mkdir()
    no_caches = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=no_caches)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree / path.name)
    dist = folder / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, cwd=tree)
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that holds the wheel and what it asks for."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False)
    # This environment's pip, and no bytecode: most of it would never be read.
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install")
    options = ("--quiet", "--disable-pip-version-check", "--no-compile")
    run(*pip, *options, "-c", ROOT / "constraints.txt", wheel, cwd=home, env=bare_environment())
    return home / "bin"


def bare_environment() -> dict[str, str]:
    """This process's environment without anything that could lead back to the checkout."""
    leading_back = ("PYTHON", "VIRTUAL_ENV", "BAUTA_", "COVERAGE")
    return {name: value for name, value in os.environ.items() if not name.startswith(leading_back)}


def shipped_configs() -> set[str]:
    configs = ROOT / "configs"
    return {str(path.relative_to(configs)) for path in configs.rglob("*") if path.is_file()}


def make_clip(path: Path) -> None:
    """One face that drifts over grey, H.264, 25 frames."""
    face = np.ascontiguousarray(data.astronaut()[0:240, 100:340])  # head and shoulders
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(FRAMES):
            picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            left = 100 + 4 * index
            picture[60:300, left : left + 240] = face
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    tops = {name.split("/")[0] for name in names}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"pipeline", "engines", info}
    assert info.startswith("bauta-")

    folders = {part for name in names for part in Path(name).parts[:-1]}
    assert not folders & {"tests", "benchmarks", "__pycache__"}
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest"))]
    assert {"pipeline/py.typed", "engines/py.typed", "pipeline/cli.py"} <= names
    assert f"{info}/licenses/LICENSE" in names

    prefix = "pipeline/_data/configs/"
    packaged = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    assert packaged == shipped_configs()
    assert packaged, "configs/ is empty"


def test_every_module_of_the_checkout_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {
        str(path.relative_to(ROOT))
        for package in ("pipeline", "engines")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not {"__pycache__", "_data"} & set(path.parts)
    }
    assert modules - names == set()


def test_packages_belong_to_bauta_alone(installed: Path, tmp_path: Path) -> None:
    script = (
        "import importlib.metadata as m, json; "
        "print(json.dumps([m.packages_distributions(), m.version('bauta')]))"
    )
    done = run(installed / "python", "-I", "-c", script, cwd=tmp_path)
    owners, version = json.loads(done.stdout)
    assert owners["pipeline"] == ["bauta"]
    assert owners["engines"] == ["bauta"]
    assert f'__version__ = "{version}"' in (ROOT / "pipeline/version.py").read_text("utf-8")
    assert "torch" not in owners, "the base install must not bring torch"


def test_configs_are_found_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pipeline.resources import config_path; "
        "print(*map(config_path, sys.argv[1:]), sep='\\n')"
    )
    names = sorted(shipped_configs())
    done = run(installed / "python", "-I", "-c", script, *names, cwd=tmp_path)
    found = [Path(line) for line in done.stdout.splitlines()]
    assert [path.read_bytes() for path in found] == [
        (ROOT / "configs" / name).read_bytes() for name in names
    ]
    assert all(path.is_relative_to(installed.parent) for path in found)


def test_protect_runs_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    env = bare_environment() | {"HOME": str(home)}

    said = run(installed / "bauta", "--help", cwd=empty, env=env).stdout
    assert "protect" in said

    clip, out = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    make_clip(clip)
    run(installed / "bauta", "protect", clip, out, cwd=empty, env=env)
    with av.open(out) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == FRAMES
    assert {picture.shape for picture in pictures} == {(HEIGHT, WIDTH, 3)}
    assert list(empty.iterdir()) == [], "a run leaves nothing in the working directory"
