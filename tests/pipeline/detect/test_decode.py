from pathlib import Path

import numpy as np
import pytest

from engines import Catalog
from pipeline.detect.decode import DECODERS, decode_centerface, decode_yunet
from pipeline.frames import FloatArray

ROOT = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT = 64, 32


def centerface_tensors(batch: int = 1) -> dict[str, FloatArray]:
    rows, columns = HEIGHT // 4, WIDTH // 4
    return {
        name: np.zeros((batch, channels, rows, columns), np.float32)
        for name, channels in (("537", 1), ("538", 2), ("539", 2), ("540", 10))
    }


def test_centerface_cell_to_box() -> None:
    out = centerface_tensors()
    row, column = 3, 9
    out["537"][0, 0, row, column] = 0.8
    out["538"][0, :, row, column] = np.log([12 / 4, 8 / 4])  # 12 high, 8 wide
    out["539"][0, :, row, column] = [0.25, -0.5]  # y, x in cells
    for mark in range(5):
        out["540"][0, 2 * mark : 2 * mark + 2, row, column] = [0.1 * mark, 0.2 * mark]

    found = decode_centerface(out, 0, 0.5, WIDTH)

    # centre y (3 + 0.25 + 0.5) * 4 = 15, centre x (9 - 0.5 + 0.5) * 4 = 36
    np.testing.assert_allclose(found.box_xyxy_px, [[32, 9, 40, 21]], atol=1e-4)
    assert found.score.tolist() == pytest.approx([0.8])
    expected = [[32 + 0.2 * m * 8, 9 + 0.1 * m * 12] for m in range(5)]
    np.testing.assert_allclose(found.landmark_px[0], expected, atol=1e-4)


def test_centerface_keeps_batch_members_apart() -> None:
    out = centerface_tensors(batch=3)
    out["537"][1, 0, 2, 2] = 0.9
    found = [len(decode_centerface(out, index, 0.5, WIDTH)) for index in range(3)]
    assert found == [0, 1, 0]


def test_centerface_threshold_and_suppression() -> None:
    out = centerface_tensors()
    out["538"][:] = np.log(3)
    out["537"][0, 0, 2, [2, 3, 10]] = [0.6, 0.9, 0.3]

    found = decode_centerface(out, 0, 0.25, WIDTH)
    assert found.score.tolist() == pytest.approx([0.9, 0.3])  # cell 2 shows the face of cell 3
    assert len(decode_centerface(out, 0, 0.3, WIDTH)) == 1  # must be above, not at
    assert len(decode_centerface(out, 0, 0.95, WIDTH)) == 0


def yunet_tensors() -> dict[str, FloatArray]:
    tensors = {}
    for stride in (8, 16, 32):
        cells = (WIDTH // stride) * (HEIGHT // stride)
        for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            tensors[f"{name}_{stride}"] = np.zeros((1, cells, channels), np.float32)
    return tensors


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_yunet_cell_to_box(stride: int) -> None:
    out = yunet_tensors()
    columns = WIDTH // stride
    column, row = 1, HEIGHT // stride - 1
    cell = row * columns + column
    out[f"cls_{stride}"][0, cell] = 0.9
    out[f"obj_{stride}"][0, cell] = 0.4
    out[f"bbox_{stride}"][0, cell] = [0.5, 0.25, np.log(2), np.log(1.5)]
    out[f"kps_{stride}"][0, cell] = np.arange(10) / 10

    found = decode_yunet(out, 0, 0.5, WIDTH)

    assert found.score.tolist() == pytest.approx([0.6])  # sqrt(0.9 * 0.4)
    x, y = (column + 0.5) * stride, (row + 0.25) * stride
    np.testing.assert_allclose(
        found.box_xyxy_px,
        [[x - stride, y - 0.75 * stride, x + stride, y + 0.75 * stride]],
        rtol=1e-5,
    )
    marks = (np.arange(10).reshape(5, 2) / 10 + [column, row]) * stride
    np.testing.assert_allclose(found.landmark_px[0], marks, rtol=1e-5)


def test_yunet_joins_its_strides_and_suppresses_across_them() -> None:
    out = yunet_tensors()
    for stride, score in ((8, 0.9), (32, 0.7)):
        out[f"cls_{stride}"][0, 0] = out[f"obj_{stride}"][0, 0] = score
    # the same 16 px square at the origin, seen at two strides; and another face far away
    out["bbox_8"][0, 0] = [1, 1, np.log(2), np.log(2)]
    out["bbox_32"][0, 0] = [0.25, 0.25, np.log(0.5), np.log(0.5)]
    out["cls_16"][0, 3] = out["obj_16"][0, 3] = 0.5
    out["bbox_16"][0, 3] = [0.5, 0.5, 0, 0]

    found = decode_yunet(out, 0, 0.2, WIDTH)

    assert found.score.tolist() == pytest.approx([0.9, 0.5])
    np.testing.assert_allclose(found.box_xyxy_px, [[0, 0, 16, 16], [48, 0, 64, 16]], atol=1e-4)
    assert len(decode_yunet(out, 0, 0.95, WIDTH)) == 0


def test_yunet_scores_stay_scores() -> None:
    """Some exports answer a little outside 0..1."""
    out = yunet_tensors()
    out["cls_8"][0, 0], out["obj_8"][0, 0] = 1.3, 1.2
    out["cls_8"][0, 5], out["obj_8"][0, 5] = -0.5, -0.5
    assert decode_yunet(out, 0, 0.5, WIDTH).score.tolist() == [1.0]


def test_every_catalogued_family_has_a_decoder() -> None:
    catalog = Catalog.load(ROOT / "configs" / "models.yaml")
    # face-alignment brings a detector of its own
    families = {entry.family for entry in catalog.entries.values()} - {
        "face-alignment",
        "landmarks68",
    }
    assert families == set(DECODERS)
