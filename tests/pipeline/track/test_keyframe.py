from collections.abc import Sequence

import numpy as np

from pipeline.frames import FaceBox, FrameMoment
from pipeline.track.keyframe import DOUBT_PAUSE_SECONDS, FORGET_SECONDS, KeyframePolicy

FPS = 25


def faces(*ids: int) -> list[FaceBox]:
    return [FaceBox(n, np.array([0, 0, 50, 50], np.float32), 0.0) for n in ids]


def moment(frame: int, *, idr_every: int | None = None) -> FrameMoment:
    return FrameMoment(frame, frame / FPS, idr_every is not None and frame % idr_every == 0)


def fused_frames(
    policy: KeyframePolicy, frames: Sequence[int], *, idr_every: int | None = None
) -> list[int]:
    """One face, fused whenever it is due."""
    done = []
    for frame in frames:
        now = moment(frame, idr_every=idr_every)
        if policy.due(faces(1), now, {}):
            policy.settle(1, fused_seconds=now.pts_seconds)
            done.append(frame)
    return done


def test_first_frame_then_every_second() -> None:
    assert fused_frames(KeyframePolicy(1.0), range(7, 90)) == [7, 32, 57, 82]


def test_every_idr_frame_and_the_count_starts_there() -> None:
    assert fused_frames(KeyframePolicy(1.0), range(7, 90), idr_every=40) == [7, 32, 40, 65, 80]


def test_an_idr_every_second_is_all() -> None:
    assert fused_frames(KeyframePolicy(1.0), range(100), idr_every=25) == [0, 25, 50, 75]


def test_what_was_not_done_stays_due() -> None:
    policy = KeyframePolicy(1.0)
    for frame in range(5):
        assert [face.track_id for face in policy.due(faces(1), moment(frame), {})] == [1]
    policy.settle(1, fused_seconds=0.16)
    assert policy.due(faces(1), moment(5), {}) == []


def test_a_face_that_cannot_be_fused_is_asked_again_at_the_next_keyframe() -> None:
    policy = KeyframePolicy(1.0)
    assert policy.due(faces(1), moment(0), {})
    policy.settle(1)
    assert not any(policy.due(faces(1), moment(frame), {}) for frame in range(1, 25))
    assert policy.due(faces(1), moment(25), {})


def test_who_waited_longer_comes_first() -> None:
    policy = KeyframePolicy(1.0)
    assert [f.track_id for f in policy.due(faces(1, 2, 3), moment(0), {})] == [1, 2, 3]
    for track, seconds in ((1, 0.04), (2, 0.0), (3, 0.02)):
        policy.settle(track, fused_seconds=seconds)
    order = policy.due(faces(1, 2, 3, 4), moment(50), {})
    assert [face.track_id for face in order] == [4, 2, 3, 1]


def test_tracks_are_forgotten_in_the_end() -> None:
    """A street has thousands of them a day."""
    policy = KeyframePolicy(1.0)
    for n in range(1_000):
        policy.due(faces(n), moment(n * FPS), {})
    assert len(policy._tracks) <= FORGET_SECONDS + 2


def test_doubt_makes_a_face_due_at_once() -> None:
    policy = KeyframePolicy(1.0)
    assert fused_frames(policy, [0]) == [0]
    assert policy.due(faces(1, 2), moment(12), {1: "occlusion"})[-1].track_id == 1
    assert policy.reasons == {"first frame": 2, "occlusion": 1}


def test_doubt_waits_for_its_pause_and_is_counted_once() -> None:
    policy = KeyframePolicy(10.0)
    fused = []
    for frame in range(40):
        now = moment(frame)
        if policy.due(faces(1), now, {1: "residual"} if frame else {}):
            policy.settle(1, fused_seconds=now.pts_seconds)
            fused.append(frame)
    # frames 0, 10, 20, 30: no two of them nearer than the pause
    assert fused == [round(n * DOUBT_PAUSE_SECONDS * FPS) for n in range(4)]
    assert policy.reasons == {"first frame": 1, "residual": 4}


def test_an_idr_frame_does_not_wait_for_the_pause_of_a_doubt() -> None:
    policy = KeyframePolicy(10.0)
    assert fused_frames(policy, [0]) == [0]
    assert not policy.due(faces(1), moment(2), {1: "gap"})
    idr = FrameMoment(3, 3 / FPS, is_idr=True)
    assert policy.due(faces(1), idr, {})
    policy.settle(1, fused_seconds=3 / FPS)
    assert policy.reasons == {"first frame": 1, "gap": 1}


def test_time_overtakes_a_doubt_that_could_not_be_settled() -> None:
    policy = KeyframePolicy(0.2)
    assert fused_frames(policy, [0]) == [0]
    assert not policy.due(faces(1), moment(1), {1: "gap"})
    assert policy.due(faces(1), moment(5), {})  # 0.2 s after the keyframe, before the pause ends


def test_a_fusion_on_doubt_puts_the_next_one_off() -> None:
    policy = KeyframePolicy(1.0)
    assert fused_frames(policy, [0]) == [0]
    assert policy.due(faces(1), moment(15), {1: "uncovered"})
    policy.settle(1, fused_seconds=15 / FPS)
    assert fused_frames(policy, range(16, 45)) == [40]
