import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spcnet.benchmarks.trackers import open_tracker

OPSET = 13


def _save(path, nodes, inputs, outputs, weights):
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "g", *values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _conv(source, weights, target, size, pads=(0, 0, 0, 0)):
    return helper.make_node(
        "Conv", [source, weights], [target], kernel_shape=[size] * 2, strides=[size] * 2, pads=pads
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random networks with the inputs and outputs that OpenCV expects: backbone, head and vit."""
    folder, rng = tmp_path_factory.mktemp("networks"), np.random.default_rng(0)

    def weights(**shapes):
        return {name: rng.normal(size=shape) * 0.1 for name, shape in shapes.items()}

    backbone = _save(
        folder / "backbone.onnx",  # patches of 127 and 255 px to 8 and 16 cells
        [_conv("input", "w", "output", 16, (0, 0, 1, 1))],
        {"input": [1, 3, "h", "w"]},
        {"output": [1, 4, "m", "n"]},
        weights(w=(4, 3, 16, 16)),
    )
    head = _save(
        folder / "head.onnx",
        [
            helper.make_node("GlobalAveragePool", ["input1"], ["mean"]),
            helper.make_node("Add", ["input2", "mean"], ["x"]),
            _conv("x", "score", "output1", 1),
            _conv("x", "sides", "b", 1),
            helper.make_node("Abs", ["b"], ["output2"]),
        ],
        {"input1": [1, 4, 8, 8], "input2": [1, 4, 16, 16]},
        {"output1": [1, 2, 16, 16], "output2": [1, 4, 16, 16]},
        weights(score=(2, 4, 1, 1), sides=(4, 4, 1, 1)),
    )
    outputs = {"output1": 1, "output2": 2, "output3": 2}  # score, size, offset
    vit = _save(
        folder / "vit.onnx",
        [
            _conv("template", "t", "a", 16),
            helper.make_node("GlobalAveragePool", ["a"], ["mean"]),
            _conv("search", "s", "b", 16),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Add", ["c", "mean"], ["x"]),
            *(_conv("x", f"w{name}", f"y{name}", 1) for name in outputs),
            *(helper.make_node("Sigmoid", [f"y{name}"], [name]) for name in outputs),
        ],
        {"template": [1, 3, 128, 128], "search": [1, 3, 256, 256]},
        {name: [1, channels, 16, 16] for name, channels in outputs.items()},
        weights(t=(4, 3, 16, 16), s=(4, 3, 16, 16), **{f"w{n}": (c, 4, 1, 1) for n, c in outputs.items()}),
    )
    return {"backbone": backbone, "head": head, "vit": vit}


@pytest.mark.parametrize("name", ["nano:{backbone},{head}", "vit:{vit}"])
def test_networks_of_the_user_run_in_opencv(name, files, video):
    frames, boxes = video
    tracker = open_tracker(name.format(**files))
    assert tracker.name == f"opencv-{name.partition(':')[0]}" and tracker.kind == "peer"
    runs = []
    for _ in range(2):
        tracker.init(frames[0], boxes[0])
        runs.append([tracker.update(frame) for frame in frames[1:4]])
    assert runs[0] == runs[1] and np.isfinite(runs[0]).all()
    assert len(set(runs[0])) > 1  # the network moved the box
    tracker.close()


def test_the_identity_is_of_the_files(files, tmp_path):
    changed = tmp_path / "vit.onnx"
    model = onnx.load(files["vit"])
    model.doc_string = "another"
    onnx.save(model, changed)
    assert open_tracker(f"vit:{files['vit']}").identity != open_tracker(f"vit:{changed}").identity


def test_files_that_are_missing_or_others_are_named(files, video, tmp_path):
    with pytest.raises(FileNotFoundError, match="nano: there is no file nosuch"):
        open_tracker(f"nano:{files['backbone']},nosuch.onnx")
    with pytest.raises(FileNotFoundError, match="vit: there is no file"):
        open_tracker("v=vit:")
    with pytest.raises(ValueError, match=r"names 1 file\(s\); give nano:BACKBONE.onnx,HEAD.onnx"):
        open_tracker(f"nano:{files['backbone']}")
    for name, content in (("text.txt", b"no network"), ("cut.onnx", files["vit"].read_bytes()[:300])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"vit: OpenCV cannot read .*{name}"):
            open_tracker(f"vit:{tmp_path / name}")
    frames, boxes = video
    other = open_tracker(f"vit:{files['backbone']}")  # a network, but not of this tracker
    with pytest.raises(RuntimeError, match=r"opencv-vit cannot begin at .*template"):
        other.init(frames[0], boxes[0])
