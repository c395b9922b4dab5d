"""TensorRT plans on disk: a plan takes up to minutes to build and fits one GPU and one version.

A plan is found by everything that it depends on (PlanKey). It is written to the side and renamed,
so a reader sees a whole one or none; one that was damaged is thrown away and built again. The
checksum finds accidents, not attackers: a plan is code for the GPU, so the folder is the user's own
(0700). No TensorRT is needed here: all of this is tested without a GPU.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from .base import EngineError

_log = logging.getLogger(__name__)

Precision = Literal["float32", "half"]

MAGIC = b"bauta plan 1\n"  # then the checksum in hex, a line end, and the plan


BATCH = (1, 16, 16)  # least, best, most faces at once; the builder tunes for the best
SIDE_PX = (8, 112, 512)  # of a face; a larger one is refused, and so plainly obfuscated


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """What a plan accepts, as (least, best, most)."""

    batch: tuple[int, int, int]
    side: tuple[int, int, int]  # height and width of the bands

    def __post_init__(self) -> None:
        for name, three in (("batch", self.batch), ("side", self.side)):
            if list(three) != sorted(three) or three[0] < 1:
                raise ValueError(f"{name} must go up from at least 1, got {three}")

    @classmethod
    def for_levels(cls, levels: int) -> ShapeRange:
        """BATCH and SIDE_PX behind that many wavelet transforms."""
        least, best, most = (side >> levels for side in SIDE_PX)
        return cls(BATCH, (least, best, most))


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Everything that a plan depends on."""

    model_sha256: str
    gpu: str  # its name; plans are not portable between models of GPUs
    compute_capability: tuple[int, int]
    tensorrt: str  # its version
    precision: Precision
    shapes: ShapeRange

    def digest(self) -> str:
        """The file's name, without ending."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]

    def timing_digest(self) -> str:
        """Kernel timings hold for every model on one GPU and version."""
        text = json.dumps([self.gpu, self.compute_capability, self.tensorrt])
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/bauta/plans, or ~/.cache/bauta/plans."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "bauta" / "plans"


class PlanCache:
    """Plans, kernel timings, and what the parity check said, by key.

    A cache that cannot be written is not an error: the next start builds again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = cache_folder() if folder is None else folder

    def load(self, key: PlanKey) -> bytes | None:
        """A whole plan, or None where there is none."""
        return self._read(f"{key.digest()}.plan")

    def has(self, key: PlanKey) -> bool:
        """Whether there is one, whole or not."""
        return (self._folder / f"{key.digest()}.plan").is_file()

    def store(self, key: PlanKey, plan: bytes) -> None:
        """Keep it, whole or not at all."""
        self._write(f"{key.digest()}.plan", plan)

    def discard(self, key: PlanKey) -> None:
        """For a plan that is whole and yet not accepted."""
        self._remove(f"{key.digest()}.plan")

    def load_timings(self, key: PlanKey) -> bytes:
        """For the builder; empty where there are none."""
        return self._read(f"{key.timing_digest()}.timings") or b""

    def store_timings(self, key: PlanKey, timings: bytes) -> None:
        """The builder's, for the next build."""
        self._write(f"{key.timing_digest()}.timings", timings)

    def load_verdict(self, keys: Mapping[str, PlanKey]) -> bool | None:
        """Whether these plans kept parity; None: not known yet."""
        content = self._read(self._verdict_name(keys))
        return None if content is None else content == b"kept"

    def store_verdict(self, keys: Mapping[str, PlanKey], kept: bool) -> None:
        """What the parity check said of these plans together."""
        self._write(self._verdict_name(keys), b"kept" if kept else b"lost")

    @staticmethod
    def _verdict_name(keys: Mapping[str, PlanKey]) -> str:
        text = "".join(keys[name].digest() for name in sorted(keys))
        return f"{hashlib.sha256(text.encode('ascii')).hexdigest()[:32]}.parity"

    def _read(self, name: str) -> bytes | None:
        try:
            content = (self._folder / name).read_bytes()
        except OSError:
            return None
        head, _, payload = content.removeprefix(MAGIC).partition(b"\n")
        if content.startswith(MAGIC) and head == _checksum(payload):
            return payload
        _log.warning("%s in %s is damaged: thrown away", name, self._folder)
        self._remove(name)
        return None

    def _write(self, name: str, payload: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes it readable for the user alone
            handle, side = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(MAGIC + _checksum(payload) + b"\n" + payload)
                    file.flush()
                    os.fsync(file.fileno())
                Path(side).replace(self._folder / name)
            except BaseException:
                Path(side).unlink(missing_ok=True)
                raise
        except OSError as error:
            _log.warning("%s cannot be kept in %s: %s", name, self._folder, error.strerror)

    def _remove(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise EngineError(
                f"{self._folder / name} cannot be removed: {error.strerror}; remove it by hand"
            ) from error


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode("ascii")
