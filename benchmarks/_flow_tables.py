"""The columns of what `flow` prints; benchmarks/README.md says what they mean."""

from __future__ import annotations

from .report import Column

COLUMNS = (
    Column("figure", "figure"),
    Column("value", "value", 3),
    Column("target", "target"),
    Column("reached", "reached"),
)
PRIVACY_COLUMNS = (
    Column("mode", "mode"),
    Column("scene", "scene"),
    Column("faces", "faces"),
    Column("carried", "carried"),
    Column("fused", "fused"),
    Column("worst", "worst bare %", 2),
    Column("bare", "bare"),
    Column("pores", "pores"),
    Column("peak", "peak", 2),
    Column("sees", "sees %", 0),
    Column("alone", "alone bare %", 1),
    Column("ghosts", "ghosts"),
    Column("causes", "why"),
    Column("let_go", "let go (frames)"),
)
STABILITY_COLUMNS = (
    Column("clip", "clip"),
    Column("coding", "coding"),
    Column("pairs", "pairs"),
    Column("propagated", "propagated", 2),
    Column("every", "every frame", 2),
    Column("plain", "plain", 2),
    Column("ratio", "ratio", 2),
    Column("of_plain", "of plain", 2),
    Column("carried", "carried", 2),
    Column("keyframe", "keyframe", 2),
    Column("let_go", "let go", 2),
    Column("carried_share", "carried %", 0),
)
COST_COLUMNS = (
    Column("side", "square px"),
    Column("carry", "carry ms", 2),
    Column("flow", "of it flow", 2),
    Column("fuse", "fuse ms", 2),
    Column("network", "of it network", 2),
    Column("plain", "plain ms", 2),
    Column("ratio", "carry/fuse", 3),
)
NETWORK_COLUMNS = (
    Column("clip", "clip"),
    Column("settings", "settings"),
    Column("frames", "frames"),
    Column("faces", "faces"),
    Column("fusable", "fusable"),
    Column("runs", "runs/face/s", 2),
    Column("carried", "carried %", 1),
    Column("fused", "fused %", 1),
    Column("plain", "plain %", 1),
    Column("obscured", "obscured"),
    Column("keyframes", "keyframes"),
    Column("let_go", "let go"),
)
BETWEEN_COLUMNS = (
    Column("clip", "clip"),
    Column("age", "age"),
    Column("faces", "faces"),
    Column("psnr", "PSNR", 1),
    Column("ssim", "SSIM", 3),
    Column("still", "box alone", 1),
    Column("off", "off %", 2),
    Column("bytes", "bytes", 0),
    Column("most", "most bytes"),
)
POSE_COLUMNS = (
    Column("clip", "clip"),
    Column("obfuscation", "obfuscation"),
    Column("landmarks", "landmarks"),
    Column("faces", "faces"),
    Column("propagated", "propagated %", 2),
    Column("every", "every frame %", 2),
    Column("plain", "plain %", 2),
)
