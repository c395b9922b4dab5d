import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ProtectionError
from pipeline.frames import FaceBox, YuvPlanes
from pipeline.protect import choose
from pipeline.protect.choose import make_patches
from pipeline.settings import ProtectSettings

WIDTH, HEIGHT = 320, 180


def planes(seed: int = 0) -> YuvPlanes:
    rng = np.random.default_rng(seed)
    half = (HEIGHT // 2, WIDTH // 2)
    return YuvPlanes(
        rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8),
        rng.integers(0, 256, half, np.uint8),
        rng.integers(0, 256, half, np.uint8),
    )


def face(track_id: int, *box: float) -> FaceBox:
    return FaceBox(track_id, np.array(box, np.float32), 0.0)


boxes = st.tuples(
    st.floats(-80, 380), st.floats(-80, 240), st.floats(1, 200), st.floats(1, 200)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@settings(max_examples=60)
@given(
    st.lists(boxes, max_size=5),
    st.sampled_from(["pixelate", "solid", "blur", "median", "noise", "mask"]),
    st.sampled_from([0.05, 0.25, 1.0]),
)
def test_every_face_in_the_frame_gets_a_patch(
    corners: list[tuple[float, float, float, float]], name: str, strength: float
) -> None:
    original = planes()
    before = original.y.copy(), original.u.copy(), original.v.copy()
    for plane in (original.y, original.u, original.v):
        plane.flags.writeable = False  # patches are made before the frame may be written
    faces = [face(n, *box) for n, box in enumerate(corners)]
    settings = ProtectSettings.model_validate({"obfuscation": name, "strength": strength})

    patches = make_patches(original, faces, settings)

    for plane, old in zip((original.y, original.u, original.v), before, strict=True):
        np.testing.assert_array_equal(plane, old)
    by_track = {patch.track_id: patch for patch in patches}
    for item in faces:
        x1, y1, x2, y2 = (int(v) for v in np.rint(item.box_xyxy_px))
        if max(x1, 0) < min(x2, WIDTH) and max(y1, 0) < min(y2, HEIGHT):
            patch = by_track[item.track_id]
            np.testing.assert_array_equal(patch.face_xyxy_px, item.box_xyxy_px)
            assert patch.x_px + patch.alpha.shape[1] <= WIDTH
            assert patch.y_px + patch.alpha.shape[0] <= HEIGHT


def test_no_face_no_patch() -> None:
    assert make_patches(planes(), [], ProtectSettings()) == []
    assert make_patches(planes(), [face(1, -90, 0, -60, 30)], ProtectSettings()) == []


def test_the_smallest_detail_grows_with_the_face() -> None:
    """A quarter of the width, at every size: four cells and a bit across a face."""
    for side in (24, 60, 120):
        box = face(1, 100, 20, 100 + side, 20 + side)
        (patch,) = make_patches(planes(), [box], ProtectSettings(obfuscation="pixelate"))
        steps = (np.diff(patch.planes.y.astype(int), axis=1) != 0).any(axis=0)
        cells = 1 + int(steps.sum())
        assert cells <= patch.alpha.shape[1] / (0.25 * side)
        assert cells >= 4


def test_an_obfuscation_that_fails_obscures_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> YuvPlanes:
        raise MemoryError("no room")

    monkeypatch.setattr(choose, "obfuscate", broken)
    with pytest.raises(ProtectionError, match="obfuscation failed: MemoryError"):
        make_patches(planes(), [face(1, 10, 10, 50, 50)], ProtectSettings())
