"""Per face: the patch that hides it, made before anything else is tried (`fuse.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ProtectionError
from ..frames import FaceBox, FacePatch, YuvPlanes, part_of
from ..settings import ProtectSettings
from .obfuscate import obfuscate
from .region import region_of


def make_patches(
    planes: YuvPlanes, faces: Sequence[FaceBox], settings: ProtectSettings
) -> list[FacePatch]:
    """A patch for every face that touches the frame; reads `planes`, writes nothing.

    Raises ProtectionError where a patch cannot be made: the frame is then obscured whole.
    """
    patches = []
    for face in faces:
        region = region_of(face, planes.size_px, grow=settings.grow, shape=settings.shape)
        if region is None:
            continue
        width, height = region.size_px
        x, y = region.x_px, region.y_px
        try:
            hidden = obfuscate(
                part_of(planes, x, y, width, height),
                settings.obfuscation,
                settings.strength * region.face_width_px,
            )
        except Exception as error:  # OpenCV raises many kinds; each means an unprotected face
            raise ProtectionError(f"obfuscation failed: {type(error).__name__}") from error
        patches.append(
            FacePatch(
                face.track_id,
                x,
                y,
                hidden,
                region.alpha,
                np.asarray(face.box_xyxy_px, np.float32),
            )
        )
    return patches
