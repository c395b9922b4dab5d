from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from engines import EngineError, FusionEntry, FusionSpec
from engines.base import Array
from engines.catalog import verified_graph, verified_graphs
from engines.eager import EagerEngine, load_net
from engines.export.to_onnx import export, graph_bytes, graphs_of, read_weights
from engines.fusion import Part
from engines.ov import OpenVinoEngine
from support.fusion_nets import KEYED, ONE_BLOCK, RESTORED, SCRAMBLED, SPECS, exported, random_net

Entries = Mapping[str, FusionEntry]


def inputs_of(spec: FusionSpec, part: Part, batch: int = 2) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {
        name: rng.normal(size=(batch, channels, 5, 6)).astype(np.float32)
        for name, channels in spec.inputs_of(part).items()
    }


def parts(entries: Entries) -> list[tuple[FusionEntry, Part]]:
    return [(entry, part) for entry in entries.values() for part in entry.spec.parts]


def test_the_graphs_are_the_network(entries: Entries) -> None:
    """Written by hand, so held to nets/ here: on OpenVINO, against PyTorch."""
    for entry, part in parts(entries):
        graph = verified_graph(entry, part)
        inputs = inputs_of(entry.spec, part)
        expected = EagerEngine(graph, part, entry.spec).run(inputs)
        got = OpenVinoEngine(graph, name=entry.name, threads=1).run(inputs)
        assert set(got) == set(expected)
        for name, tensor in expected.items():
            np.testing.assert_allclose(got[name], tensor, atol=2e-5, err_msg=f"{entry.name} {part}")


def test_the_reference_reads_the_weights_that_were_exported(entries: Entries) -> None:
    for entry in entries.values():
        net, back = random_net(entry.spec), load_net(verified_graphs(entry), entry.spec)
        assert net.state_dict().keys() == back.state_dict().keys()
        for name, weight in net.state_dict().items():
            assert torch.equal(weight, back.state_dict()[name]), name


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    first = export(random_net(RESTORED), tmp_path / "a")
    second = export(random_net(RESTORED), tmp_path / "b")
    assert first == second
    assert set(first) == {"protect", "recover", "restore"}
    for part, digest in first.items():
        content = (tmp_path / "a" / f"{part}.onnx").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert content == (tmp_path / "b" / f"{part}.onnx").read_bytes()
    assert export(random_net(RESTORED, seed=1), tmp_path / "c") != first


def test_nothing_but_the_network_is_in_a_file(tmp_path: Path) -> None:
    """No path, user or time of the machine that exported it."""
    export(random_net(KEYED), tmp_path)
    model = onnx.load(tmp_path / "protect.onnx")
    assert (model.producer_name, model.producer_version, model.doc_string) == ("bauta", "", "")
    assert not model.metadata_props
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    for node in model.graph.node:
        assert not node.doc_string and not node.metadata_props
    assert str(tmp_path).encode() not in (tmp_path / "protect.onnx").read_bytes()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_names_and_free_axes(spec: FusionSpec) -> None:
    for part, content in graphs_of(random_net(spec)).items():
        graph = onnx.load_from_string(content).graph
        channels = {"x": spec.layout.channels, "y": spec.layout.channels, "k": spec.key_channels}
        assert [item.name for item in graph.input] == list(inputs_of(spec, part))
        outputs = ["out"]
        if part == "recover" and spec.carries_difference:
            outputs.append("obfuscated")
        assert [item.name for item in graph.output] == outputs
        for item in (*graph.input, *graph.output):
            b, c, h, w = item.type.tensor_type.shape.dim
            assert (b.dim_param, h.dim_param, w.dim_param) == ("b", "h", "w")
            assert c.dim_value == channels.get(item.name, spec.layout.channels)
        known = set(random_net(spec).state_dict())
        assert {tensor.name for tensor in graph.initializer} <= known


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_by_product_cannot_come_out(spec: FusionSpec) -> None:
    """What would compute it is not in the file: rho and eta of the last block make it."""
    graphs = graphs_of(random_net(spec))
    held = read_weights(graphs["protect"])
    last = f"blocks.{spec.depth - 1}"
    assert f"{last}.omega.last.weight" in held
    assert not [name for name in held if name.startswith((f"{last}.rho", f"{last}.eta"))]


def test_half_precision_is_in_the_convolutions_alone() -> None:
    for part, content in graphs_of(random_net(RESTORED), half=True).items():
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True)
        types = {
            item.name: item.type.tensor_type.elem_type
            for item in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        }
        half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
        assert {types[item.name] for item in (*model.graph.input, *model.graph.output)} == {full}
        assert {tensor.data_type for tensor in model.graph.initializer} == {half}
        for node in model.graph.node:
            if node.op_type in ("Conv", "LeakyRelu"):
                assert types[node.output[0]] == half, part
            if node.op_type in ("Exp", "Sigmoid", "Tanh", "Sub"):
                assert types[node.output[0]] == full, part


@pytest.mark.parametrize("spec", [SCRAMBLED, ONE_BLOCK, RESTORED], ids=lambda spec: spec.name)
def test_the_half_graph_is_the_half_reference(spec: FusionSpec) -> None:
    """What TensorRT is given and what is measured on the CPU in its place are one thing."""
    whole = graphs_of(random_net(spec))
    for part, content in graphs_of(random_net(spec), half=True).items():
        inputs = inputs_of(spec, part)
        expected = EagerEngine(whole[part], part, spec, half=True).run(inputs)
        names = list(expected)
        got = ReferenceEvaluator(content).run(names, inputs)
        for name, tensor in zip(names, got, strict=True):
            # both round to float16 after every convolution, in another order of summing
            np.testing.assert_allclose(tensor, expected[name], atol=0.02)


def test_half_is_made_of_the_shipped_graph(entries: Entries) -> None:
    """A machine with TensorRT alone has no state_dict."""
    spec = entries["restored"].spec
    for part, graph in verified_graphs(entries["restored"]).items():
        made = graph_bytes(
            part,
            read_weights(graph),
            channels=spec.layout.channels,
            key_channels=spec.key_channels,
            restored=True,
            half=True,
        )
        assert made == graphs_of(random_net(spec), half=True)[part]


@pytest.mark.parametrize("content", [b"", b"no onnx", b"\x08"])
def test_a_file_that_is_no_graph(content: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        EagerEngine(content, "protect", SCRAMBLED)
    assert "\n" not in str(caught.value)


def test_a_network_of_other_dimensions_is_refused(tmp_path: Path) -> None:
    entry = exported(SCRAMBLED, tmp_path)
    deeper = FusionSpec("deeper", SCRAMBLED.layout, "randwr", False, True, growth=4, depth=3)
    wider = FusionSpec("wider", SCRAMBLED.layout, "randwr", False, True, growth=5, depth=2)
    for spec in (deeper, wider):
        with pytest.raises(EngineError, match=spec.name):
            EagerEngine(verified_graph(entry, "protect"), "protect", spec)
    with pytest.raises(EngineError, match="depth 2"):
        EagerEngine(verified_graph(entry, "recover"), "protect", SCRAMBLED)
