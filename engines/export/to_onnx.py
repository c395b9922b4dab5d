"""A fusion network as ONNX graphs, and the weights back out of them.

The graphs are written node by node, not traced: the tracing exporter of PyTorch 2.13 takes 16 s,
merges equal weights under one name and stores the paths of the machine it ran on. A test holds the
graphs to `nets/`. Writing needs the package `onnx` and no PyTorch, so that a machine with TensorRT
alone can make the half-precision graph out of the shipped one.

protect.onnx  x (b, C, h, w), y (b, C, h, w), keyed: k (b, Ck, h, w)  ->  out (b, C, h, w)
recover.onnx                  y (b, C, h, w), keyed: k (b, Ck, h, w)  ->  out (b, C, h, w)
restore.onnx  x (b, C, h, w), difference: y (b, C, h, w)               ->  out (b, C, h, w)

b, h and w are free. Only a network with a last step has the third graph; it takes X^1,
unscrambled, and, where the network carries differences, Y^1: recover.onnx then gives Y^1 as well,
as `obfuscated` (b, C, h, w). The by-product X^(N+1) shows the face (section V-D2): no graph
computes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..base import EngineError
from ..fusion import Part

if TYPE_CHECKING:
    from ..nets.fusion import FusionNet

Weights = Mapping[str, NDArray[np.float32]]

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17
SLOPE = 0.2  # of nets.coupling.DenseMap's activation
LIMIT = 1.0  # nets.coupling.LIMIT
CONVS_THAT_GROW = 4  # of nets.coupling.DenseMap, before the last
RESTORE_CONVS, RESTORE_SLOPE = 4, 0.1  # of nets.restore and nets.polish, before the last
MOST_LOG_GAIN = 3.0  # nets.restore.MOST_LOG_GAIN
MOST_CHANGE = 0.3  # nets.polish.MOST_CHANGE


def export(net: FusionNet, folder: Path) -> dict[str, str]:
    """Write PART.onnx for every part of a network into `folder`; their SHA-256 by part.

    The same weights give the same bytes. Initializers are named as in `net.state_dict()`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    for part, content in graphs_of(net).items():
        (folder / f"{part}.onnx").write_bytes(content)
        digests[part] = hashlib.sha256(content).hexdigest()
    return digests


def graphs_of(net: FusionNet, *, half: bool = False) -> dict[Part, bytes]:
    """Every part of a network as `graph_bytes`."""
    weights = {
        name: tensor.detach().cpu().float().numpy() for name, tensor in net.state_dict().items()
    }
    restored = net.restore is not None
    parts: tuple[Part, ...] = ("protect", "recover")
    return {
        part: graph_bytes(
            part,
            weights,
            channels=net.channels,
            key_channels=net.key_channels,
            restored=restored,
            half=half,
        )
        for part in ((*parts, "restore") if restored or net.polish is not None else parts)
    }


def read_weights(content: bytes) -> dict[str, NDArray[np.float32]]:
    """The weights in an exported graph, named as in the state_dict. Raises EngineError."""
    try:
        model = onnx.load_from_string(content)
        return {
            tensor.name: numpy_helper.to_array(tensor).astype(np.float32)
            for tensor in model.graph.initializer
        }
    except Exception as error:  # protobuf's errors have no common root
        raise EngineError(f"not an ONNX file: {type(error).__name__}") from error


def graph_bytes(
    part: Part,
    weights: Weights,
    *,
    channels: int,
    key_channels: int,
    restored: bool = False,
    half: bool = False,
) -> bytes:
    """One part of the network as a serialized ONNX model. `weights` may hold more than it needs.

    `restored`: recover.onnx gives Y^1 as well, for the restore step.
    `half`: the convolutions calculate in float16, the coupling arithmetic around them and what
    goes in and out stay float32. TensorRT 11 takes precision from the graph alone.
    """
    blocks = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
    writer = _Writer(weights, half=half)
    key = "k" if key_channels and part != "restore" else None
    polishes = part == "restore" and not restored
    names = ["y"] if part == "recover" else ["x"] if polishes else ["x", "y"]
    if part == "protect":
        results = {"out": _write_protect(writer, len(blocks), key)}
    elif part == "recover":
        results = _write_recover(writer, len(blocks), key, channels, key_channels, both=restored)
    elif polishes:
        results = {"out": _write_polish(writer)}
    else:
        results = {"out": _write_restore(writer, channels)}
    for name, last in results.items():
        writer.node("Identity", [last], output=name)
    graph = helper.make_graph(
        writer.nodes,
        f"proface-s {part}",
        [_bands(name, channels) for name in names] + ([_bands(key, key_channels)] if key else []),
        [_bands(name, channels) for name in results],
        initializer=[writer.used[name] for name in sorted(writer.used)],
    )
    model = helper.make_model(
        graph,
        producer_name="bauta",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _bands(name: str, channels: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", channels, "h", "w"])


def _write_protect(w: _Writer, depth: int, key: str | None) -> str:
    """FusionNet.protect: the last block's Y alone."""
    x, y = "x", "y"
    for i in range(depth):
        y = _forward_y(w, f"blocks.{i}", x, y, key)
        if i < depth - 1:
            x = _forward_x(w, f"blocks.{i}", x, y, key)
    return y


def _write_recover(
    w: _Writer, depth: int, key: str | None, channels: int, key_channels: int, *, both: bool
) -> dict[str, str]:
    """FusionNet.recover: the first block's X; or FusionNet.recover_both: its Y as well."""
    y = "y"
    x = _stand_in(w, y, key, channels, key_channels)
    for i in range(depth - 1, 0, -1):
        x = _inverse_x(w, f"blocks.{i}", x, y, key)
        y = _inverse_y(w, f"blocks.{i}", x, y, key)
    x = _inverse_x(w, "blocks.0", x, y, key)
    if not both:
        return {"out": x}
    return {"out": x, "obfuscated": _inverse_y(w, "blocks.0", x, y, key)}


def _write_restore(w: _Writer, channels: int) -> str:
    """nets.restore.Restore."""
    last = _write_last_step(w, "restore", w.concat(["x", "y"]))
    log_gain, change = w.part(last, 0, channels), w.part(last, channels, 2 * channels)
    limit = w.scalar(MOST_LOG_GAIN)
    bounded = w.node("Tanh", [w.node("Div", [log_gain, limit])])
    gain = w.node("Exp", [w.node("Mul", [bounded, limit])])
    weighted = w.node("Mul", ["x", gain])
    return w.node("Add", [w.node("Add", ["y", weighted]), change])


def _write_polish(w: _Writer) -> str:
    """nets.polish.Polish."""
    limit = w.scalar(MOST_CHANGE)
    change = w.node("Div", [_write_last_step(w, "polish", "x"), limit])
    return w.node("Add", ["x", w.node("Mul", [w.node("Tanh", [change]), limit])])


def _write_last_step(w: _Writer, net: str, bands: str) -> str:
    """The convolutions that nets.restore and nets.polish have in common."""
    layers = w.to_convolve(bands)
    for i in range(RESTORE_CONVS):
        # every second layer of the body is an activation
        convolved = w.conv(f"{net}.body.{2 * i}", layers)
        layers = w.node("LeakyRelu", [convolved], alpha=RESTORE_SLOPE)
    return w.from_convolutions(w.conv(f"{net}.last", layers))


def _stand_in(w: _Writer, y: str, key: str | None, channels: int, key_channels: int) -> str:
    """FusionNet._stand_in: K repeated to C channels, or zeros."""
    if key is None:
        return w.node("Sub", [y, y])
    times = -(-channels // key_channels)
    repeated = w.concat([key] * times)
    if times * key_channels == channels:
        return repeated
    return w.part(repeated, 0, channels)


def _forward_y(w: _Writer, block: str, x: str, y: str, key: str | None) -> str:
    """Equation 10."""
    x_key = w.with_key(x, key)
    scaled = w.node("Mul", [y, w.factor(w.dense_map(f"{block}.omega", x_key))])
    return w.node("Add", [scaled, w.dense_map(f"{block}.phi", x_key)])


def _forward_x(w: _Writer, block: str, x: str, y: str, key: str | None) -> str:
    """Equation 11."""
    y_key = w.with_key(y, key)
    scaled = w.node("Mul", [x, w.factor(w.dense_map(f"{block}.rho", y_key))])
    return w.node("Add", [scaled, w.dense_map(f"{block}.eta", y_key)])


def _inverse_x(w: _Writer, block: str, x: str, y: str, key: str | None) -> str:
    """Equation 14."""
    y_key = w.with_key(y, key)
    moved = w.node("Sub", [x, w.dense_map(f"{block}.eta", y_key)])
    return w.node("Mul", [moved, w.factor(w.dense_map(f"{block}.rho", y_key), inverse=True)])


def _inverse_y(w: _Writer, block: str, x: str, y: str, key: str | None) -> str:
    """Equation 15."""
    x_key = w.with_key(x, key)
    moved = w.node("Sub", [y, w.dense_map(f"{block}.phi", x_key)])
    return w.node("Mul", [moved, w.factor(w.dense_map(f"{block}.omega", x_key), inverse=True)])


@dataclass(slots=True)
class _Writer:
    """Nodes and initializers of one graph, in the order in which they are asked for."""

    weights: Weights
    half: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    used: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _keyed: dict[str, str] = field(default_factory=dict)

    def node(self, kind: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        """Append a node; the name of its one output."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def concat(self, parts: list[str]) -> str:
        return self.node("Concat", parts, axis=1)

    def ints(self, values: list[int]) -> str:
        tensor = numpy_helper.from_array(np.array(values, np.int64))
        return self.node("Constant", [], value=tensor)

    def part(self, x: str, start: int, end: int) -> str:
        """Channels from start to end."""
        return self.node("Slice", [x, self.ints([start]), self.ints([end]), self.ints([1])])

    def scalar(self, value: float) -> str:
        # a constant node: initializers are the weights and nothing else
        return self.node("Constant", [], value=numpy_helper.from_array(np.array(value, np.float32)))

    def weight(self, name: str) -> str:
        if name not in self.used:
            dtype = np.float16 if self.half else np.float32
            self.used[name] = numpy_helper.from_array(self.weights[name].astype(dtype), name)
        return name

    def with_key(self, bands: str, key: str | None) -> str:
        """What the dense maps take: bands and key, in the precision of the convolutions."""
        if bands not in self._keyed:
            whole = bands if key is None else self.concat([bands, key])
            self._keyed[bands] = self.to_convolve(whole)
        return self._keyed[bands]

    def to_convolve(self, x: str) -> str:
        """In the precision of the convolutions."""
        return self.node("Cast", [x], to=TensorProto.FLOAT16) if self.half else x

    def from_convolutions(self, x: str) -> str:
        """The inverse."""
        return self.node("Cast", [x], to=TensorProto.FLOAT) if self.half else x

    def dense_map(self, name: str, x: str) -> str:
        """nets.coupling.DenseMap."""
        for i in range(CONVS_THAT_GROW):
            grown = self.node("LeakyRelu", [self.conv(f"{name}.grow.{i}", x)], alpha=SLOPE)
            x = self.concat([x, grown])
        return self.from_convolutions(self.conv(f"{name}.last", x))

    def conv(self, name: str, x: str) -> str:
        """3x3, the size kept."""
        inputs = [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.node("Conv", inputs, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def factor(self, scale: str, *, inverse: bool = False) -> str:
        """exp(a) of equation 10, or exp(-a): nets.coupling.bounded."""
        doubled = self.node("Mul", [self.node("Sigmoid", [scale]), self.scalar(2 * LIMIT)])
        limit = self.scalar(LIMIT)
        bounded = self.node("Sub", [limit, doubled] if inverse else [doubled, limit])
        return self.node("Exp", [bounded])
