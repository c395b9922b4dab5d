"""A tile video is judged by what a decoder makes of it, and by its size."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import EncodeError
from pipeline.evidence.body import TileItem, encode_tiles, mask_of, parse_tiles
from pipeline.evidence.nal import ANNEX_B, nal_type, split_nals
from pipeline.frames import OriginalTile, Surroundings, U8Array, YuvPlanes, part_of, planes_of
from pipeline.recover.tile_decoder import TileDecoder
from pipeline.seal import tile_encoder
from pipeline.seal.tile_encoder import TileEncoder
from support.tiles import moving_face, noise, psnr_db


def encoded(tiles: list[OriginalTile], *, lossless: bool = False) -> list[TileItem]:
    encoder = TileEncoder(lossless=lossless)
    items = [encoder.encode(tile) for tile in tiles]
    encoder.close()
    return items


def decoded(items: list[TileItem]) -> list[YuvPlanes]:
    decoder = TileDecoder()
    made = [decoder.decode(item) for item in items]
    assert None not in made
    return [planes for planes in made if planes is not None]


def pictures(items: list[TileItem]) -> list[YuvPlanes]:
    """The whole pictures of a video."""
    context = av.CodecContext.create("h264", "r")
    frames = [frame for item in items for frame in context.decode(av.Packet(item.packet))]
    frames += context.decode(None)
    return [planes_of(frame) for frame in frames if isinstance(frame, av.VideoFrame)]


def picture(item: TileItem) -> YuvPlanes:
    """The whole picture that the first packet of a video holds."""
    (whole,) = pictures([item])
    return whole


def assert_same(one: YuvPlanes, other: YuvPlanes) -> None:
    for ours, theirs in ((one.y, other.y), (one.u, other.u), (one.v, other.v)):
        np.testing.assert_array_equal(ours, theirs)


def tile_of(
    planes: YuvPlanes, x: int = 0, y: int = 0, owned: U8Array | None = None
) -> OriginalTile:
    return OriginalTile(1, x, y, planes, owned)


def test_a_moving_face_keeps_40_db_at_a_hundredth_of_its_size() -> None:
    tiles = list(moving_face(40, size_px=(1280, 720), face_px=176))
    items = encoded(tiles)
    back = decoded(items)

    levels = [psnr_db(made.y, tile.planes.y) for made, tile in zip(back, tiles, strict=True)]
    assert np.mean(levels) >= 40
    assert min(levels) >= 38
    colours = [psnr_db(made.u, tile.planes.u) for made, tile in zip(back, tiles, strict=True)]
    assert min(colours) >= 40
    assert [item.starts_video for item in items] == [True] + [False] * 39
    assert [item.box_xywh_px for item in items] == [tile.xywh_px for tile in tiles]
    plain = tiles[0].planes.y.size * 1.5
    assert sum(len(item.packet) for item in items[1:]) < 39 * plain / 100


@pytest.mark.parametrize("content", ["face", "noise"])
def test_lossless_is_bit_by_bit_chroma_too(content: str) -> None:
    if content == "face":
        tiles = list(moving_face(6, face_px=60))
    else:
        tiles = [tile_of(noise(50, 34, seed), x=seed * 2) for seed in range(4)]
    for made, tile in zip(decoded(encoded(tiles, lossless=True)), tiles, strict=True):
        assert_same(made, tile.planes)


def test_packets_hold_slices_and_parameter_sets_alone() -> None:
    """x264's own SEI would be half of what a short video costs."""
    for lossless in (False, True):
        items = encoded(list(moving_face(3, face_px=60)), lossless=lossless)
        kinds = [[nal_type(nal, "h264") for nal in split_nals(i.packet, ANNEX_B)] for i in items]
        assert kinds == [[7, 8, 5], [1], [1]]
        assert all(item.packet.startswith(b"\0\0\0\1") for item in items)
        assert b"x264" not in b"".join(item.packet for item in items)


def test_the_video_is_larger_than_its_first_rectangle_which_lies_in_the_middle() -> None:
    content = noise(50, 34)
    (item,) = encoded([tile_of(content)], lossless=True)
    whole = picture(item)
    assert whole.size_px == (64, 48)  # 50 + 8 and 34 + 8, up to sixteens
    assert_same(part_of(whole, 6, 6, 50, 34), content)  # 7 rounded down to even
    # its edges are drawn outward
    np.testing.assert_array_equal(whole.y[:6, 6:56], np.tile(content.y[0], (6, 1)))
    np.testing.assert_array_equal(whole.y[40:, 6:56], np.tile(content.y[-1], (8, 1)))
    np.testing.assert_array_equal(whole.u[3:20, :3], np.tile(content.u[:, :1], (1, 3)))
    np.testing.assert_array_equal(whole.v[3:20, 28:], np.tile(content.v[:, -1:], (1, 4)))


def test_a_large_face_has_more_room() -> None:
    (item,) = encoded([tile_of(noise(100, 80))], lossless=True)
    assert picture(item).size_px == (128, 112)  # 100 + 24 and 80 + 24


def test_the_video_shows_what_is_around_the_rectangle() -> None:
    frame = noise(200, 120)
    around = Surroundings(30, 40, part_of(frame, 30, 40, 82, 64), None)
    tile = OriginalTile(1, 50, 60, part_of(frame, 50, 60, 50, 34), around=around)
    (item,) = encoded([tile], lossless=True)
    assert_same(picture(item), part_of(frame, 44, 54, 64, 48))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (150, 86), (6, 80), (144, 2)])
def test_less_is_around_it_at_the_edge_of_the_frame(x: int, y: int) -> None:
    frame = noise(200, 120)
    left, top, right, bottom = max(x - 16, 0), max(y - 16, 0), min(x + 66, 200), min(y + 50, 120)
    shown = part_of(frame, left, top, right - left, bottom - top)
    tile = OriginalTile(
        1, x, y, part_of(frame, x, y, 50, 34), around=Surroundings(left, top, shown, None)
    )
    (item,) = encoded([tile], lossless=True)
    whole = picture(item)
    assert_same(part_of(whole, 6, 6, 50, 34), tile.planes)
    padded = np.pad(frame.y, 20, mode="edge")
    np.testing.assert_array_equal(whole.y, padded[y + 14 : y + 62, x + 14 : x + 78])


def test_where_others_are_hidden_the_picture_stays_as_it_was() -> None:
    """An obfuscation changes with every frame, costs bits, and nobody takes it from here."""
    hidden = np.zeros((17, 25), np.uint8)
    hidden[:, 10:20] = 1
    first, second = noise(50, 34, 1), noise(50, 34, 2)
    tiles = [
        OriginalTile(1, 0, 0, shown, around=Surroundings(0, 0, shown, mask))
        for shown, mask in ((first, None), (second, hidden))
    ]
    one, two = pictures(encoded(tiles, lossless=True))
    before, after = part_of(one, 6, 6, 50, 34), part_of(two, 6, 6, 50, 34)
    np.testing.assert_array_equal(after.y[:, 20:40], before.y[:, 20:40])
    np.testing.assert_array_equal(after.v[:, 10:20], before.v[:, 10:20])
    np.testing.assert_array_equal(after.y[:, :20], second.y[:, :20])
    np.testing.assert_array_equal(after.u[:, 20:], second.u[:, 20:])


def test_only_a_rectangle_that_outgrows_the_video_begins_a_new_one() -> None:
    sizes = [(50, 34), (64, 48), (20, 44), (66, 20), (80, 32), (10, 50), (2, 2)]
    tiles = [tile_of(noise(*size, seed)) for seed, size in enumerate(sizes)]
    items = encoded(tiles, lossless=True)
    # 66 does not fit 64 wide: then 80 x 32; 50 does not fit 32 high
    assert [item.starts_video for item in items] == [True, False, False, True, False, True, False]
    for made, tile in zip(decoded(items), tiles, strict=True):
        assert_same(made, tile.planes)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6))
def test_any_sizes_after_each_other(halves: list[tuple[int, int]]) -> None:
    tiles = [tile_of(noise(w * 2, h * 2, n)) for n, (w, h) in enumerate(halves)]
    items = encoded(tiles, lossless=True)
    for made, tile in zip(decoded(items), tiles, strict=True):
        assert_same(made, tile.planes)


def test_tiles_at_the_edges_of_a_frame() -> None:
    """Their rectangles shrink while the face goes out, and the video stays the same."""
    frame = noise(200, 120)
    boxes = [(150 + step, 60, 50 - step, 60) for step in range(0, 50, 2)]
    boxes += [(0, 0, 2 + step, 60) for step in range(0, 48, 2)]
    tiles = [tile_of(part_of(frame, *box), box[0], box[1]) for box in boxes]
    items = encoded(tiles, lossless=True)
    assert [item.starts_video for item in items].count(True) == 1
    for made, tile in zip(decoded(items), tiles, strict=True):
        assert_same(made, tile.planes)


def test_views_of_a_frame_can_be_coded() -> None:
    frame = noise(200, 120)
    view = part_of(frame, 40, 20, 60, 40)
    assert not view.y.flags.c_contiguous
    (made,) = decoded(encoded([tile_of(view)], lossless=True))
    assert_same(made, view)


def test_masks_come_with_the_item() -> None:
    owned = np.zeros((17, 25), np.uint8)
    owned[3:9, 4:20] = 255
    first, second = encoded([tile_of(noise(50, 34), owned=owned), tile_of(noise(50, 34))])
    assert first.mask is not None and second.mask is None
    np.testing.assert_array_equal(mask_of(first), owned > 0)


def test_items_survive_their_entry() -> None:
    tiles = list(moving_face(8, face_px=60))
    items = parse_tiles(encode_tiles(encoded(tiles)))
    assert len(decoded(list(items))) == 8


def test_every_encoder_begins_a_video_and_so_does_one_after_close() -> None:
    tiles = list(moving_face(3, face_px=60))
    encoder = TileEncoder(lossless=False)
    first = [encoder.encode(tile) for tile in tiles]
    encoder.close()
    encoder.close()
    again = [encoder.encode(tile) for tile in tiles]
    assert [item.starts_video for item in again] == [True, False, False]
    # nothing of the video before is in it, and the same comes out again
    assert [item.packet for item in again] == [item.packet for item in first]
    assert [item.packet for item in encoded(tiles)] == [item.packet for item in first]


def test_a_side_that_no_reader_takes_is_refused() -> None:
    large = np.zeros((2, 8194), np.uint8)
    half = np.zeros((1, 4097), np.uint8)
    encoder = TileEncoder(lossless=False)
    with pytest.raises(EncodeError, match="at most 8192 px, got 8194"):
        encoder.encode(tile_of(YuvPlanes(large, half, half)))
    widest = tile_of(YuvPlanes(large[:, :8192], half[:, :4096], half[:, :4096]))
    item = encoder.encode(widest)
    assert item.starts_video
    assert decoded([item])[0].size_px == (8192, 2)


def test_an_encoder_that_refuses_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = list(moving_face(4, face_px=60))
    encoder = TileEncoder(lossless=False)
    items = [encoder.encode(tiles[0])]
    with monkeypatch.context() as patched:
        patched.setattr(tile_encoder, "_framed", refuse)
        with pytest.raises(EncodeError, match="libx264 refused a tile: ValueError") as error:
            encoder.encode(tiles[1])
    assert "secret" not in str(error.value)
    items += [encoder.encode(tile) for tile in tiles[2:]]
    assert [item.starts_video for item in items] == [True, True, False]
    assert len(decoded(items)) == 3


def test_live_tiles_open_as_well_and_take_more_bits() -> None:
    tiles = list(moving_face(12, face_px=120))
    sizes = []
    for live in (False, True):
        encoder = TileEncoder(lossless=False, live=live)
        items = [encoder.encode(tile) for tile in tiles]
        sizes.append(sum(len(item.packet) for item in items))
        for made, tile in zip(decoded(items), tiles, strict=True):
            assert psnr_db(made.y, tile.planes.y) > 36
    assert sizes[1] > sizes[0]


def test_without_the_encoder_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_encoder, "_PRESET", "no such thing")
    with pytest.raises(EncodeError, match="libx264 refused a tile"):
        TileEncoder(lossless=False).encode(next(moving_face(1, face_px=60)))


def refuse(*_: object) -> av.VideoFrame:
    raise ValueError("secret pixels")


def test_a_lost_item_is_not_hidden_by_its_flags() -> None:
    """Only the first item of a video says that it begins one."""
    items = encoded(list(moving_face(3, face_px=60)))
    assert TileDecoder().decode(items[1]) is None
    assert TileDecoder().decode(replace(items[1], starts_video=True)) is None
