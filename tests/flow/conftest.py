"""Clips that many whole-run tests share; made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.build import build_service
from pipeline.detect.service import DetectionService
from pipeline.settings import DetectorSettings
from support.clips import Clip, make_clip


@pytest.fixture(scope="session")
def service() -> Iterator[DetectionService]:
    """The real network, with the patience that files get."""
    service = build_service(DetectorSettings(timeout=30.0))
    yield service
    service.close()


@pytest.fixture(scope="session")
def clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def clip(clip_dir: Path) -> Clip:
    """Two seconds, one face that moves, one keyframe a second."""
    return make_clip(clip_dir / "street.mp4")


@pytest.fixture(scope="session")
def talking_clip(clip_dir: Path) -> Clip:
    """The same with a tone."""
    return make_clip(clip_dir / "talking.mp4", audio=True)


@pytest.fixture(scope="session")
def looped_clip(clip_dir: Path) -> Clip:
    """For cameras that show it over and over: no face jumps where its end meets its beginning."""
    return make_clip(clip_dir / "looped.mp4", frames=75, enter_at=8, leave_at=70)


@pytest.fixture(scope="session")
def long_clip(clip_dir: Path) -> Clip:
    """Twenty seconds: long enough to be interrupted."""
    return make_clip(clip_dir / "long.mp4", frames=500)
