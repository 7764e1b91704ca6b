import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper

from spcnet.benchmarks.trackers import open_tracker

# Networks with the inputs and outputs that OpenCV expects: patches of 127 and 255 px to 8 and 16 cells, ...
GRAPHS = {
    "backbone": """
        g (float[1,3,h,w] input) => (float[1,4,m,n] output) <float[4,3,16,16] w>
        { output = Conv<strides=[16,16], pads=[0,0,1,1]>(input, w) }""",
    "head": """
        g (float[1,4,8,8] input1, float[1,4,16,16] input2)
        => (float[1,2,16,16] output1, float[1,4,16,16] output2) <float[2,4,1,1] score, float[4,4,1,1] sides>
        {
            mean = GlobalAveragePool(input1)
            x = Add(input2, mean)
            output1 = Conv(x, score)
            b = Conv(x, sides)
            output2 = Abs(b)
        }""",
    # ... and score, size and offset of the target.
    "vit": """
        g (float[1,3,128,128] template, float[1,3,256,256] search)
        => (float[1,1,16,16] output1, float[1,2,16,16] output2, float[1,2,16,16] output3)
        <float[4,3,16,16] t, float[4,3,16,16] s, float[1,4,1,1] w1, float[2,4,1,1] w2, float[2,4,1,1] w3>
        {
            a = Conv<strides=[16,16]>(template, t)
            mean = GlobalAveragePool(a)
            b = Conv<strides=[16,16]>(search, s)
            c = Relu(b)
            x = Add(c, mean)
            y1 = Conv(x, w1)
            y2 = Conv(x, w2)
            y3 = Conv(x, w3)
            output1 = Sigmoid(y1)
            output2 = Sigmoid(y2)
            output3 = Sigmoid(y3)
        }""",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Networks of these graphs with random weights."""
    folder, rng = tmp_path_factory.mktemp("networks"), np.random.default_rng(0)
    for name, graph in GRAPHS.items():
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]>{graph}')
        for info in model.graph.value_info:
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            weights = (rng.normal(size=shape) * 0.1).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(weights, info.name))
        del model.graph.value_info[:]
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in GRAPHS}


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
