"""Everything that runs the network, against the same network written out in float64 NumPy."""

import numpy as np
import pytest
from emulator.host_device import HostDevice
from numpy.lib.stride_tricks import sliding_window_view

from spcnet.export import subjects
from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.export.parity import real_patches
from spcnet.export.subjects import device_features, open_subject
from spcnet.runtime import model
from spcnet.runtime.cuda import available
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.dcf import frequencies, label_spectrum, scale_amplitudes
from spcnet.training import checkpoint


def network(source, patches):
    """The layers in float64: two 3x3 convolutions with ReLU, x / (1 + 1e-4 / 5 * local squares) ** 0.75."""
    tensors, _ = checkpoint.load(source)
    layers, x = {}, patches.astype(np.float64)
    for index in (1, 2):
        weight, bias = (tensors[f"backbone.conv{index}.{key}"].numpy() for key in ("weight", "bias"))
        windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
        x = np.maximum(np.einsum("bcyxij,ocij->boyx", windows, weight) + bias[:, None, None], 0)
        layers[f"relu {index}"] = x
    squares = np.pad(x**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    near = sum(squares[:, i : i + x.shape[1]] for i in range(5))
    return {**layers, "features": x / (1 + 1e-4 / 5 * near) ** 0.75}


def respond(config, train, search):
    """Eq. 17 and 18 by full FFTs in float64; features (S, C, N, N) to responses (S, N, N)."""
    n = config.patch_size
    window = np.outer(np.hanning(n), np.hanning(n))
    xf, zf = (np.fft.fft2(f * window) for f in (train, search))
    rows, columns = frequencies(config)
    band = np.zeros((n, n))
    band[np.ix_(rows, columns)] = label_spectrum(config)
    band[np.ix_(rows, -columns)] = label_spectrum(config)
    num = band * np.einsum("s,scyx->cyx", scale_amplitudes(config, config.learn_scales), xf)
    den = (np.abs(xf) ** 2).sum((0, 1)) + config.regularization
    return np.fft.ifft2((num.conj() * zf).sum(1) / den).real


def relative(found, expected):
    return np.sqrt(np.square(found - expected).mean() / np.square(expected).mean())


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        *[("torch", 2e-6), ("onnx", 2e-6), ("graphs", 2e-6), ("emulated", 2e-6), ("emulated-fp16", 2e-3)],
        *[("fp16", 5e-3), ("graphs-fp16", 5e-3), ("int8", 0.1)],
    ],
)
def test_every_subject_gives_the_layers_of_the_network(
    kind, tolerance, tiny_checkpoint, tiny_model, half, int8, emulated
):
    files = {"torch": tiny_checkpoint, "onnx": tiny_model, "fp16": half, "int8": int8}
    if kind in files:
        subject = open_subject(str(files[kind]))
    elif kind.startswith("graphs"):
        graphs = export_graphs(half if kind.endswith("fp16") else tiny_model)
        subject = open_subject(str(graphs["localize"]))
    else:
        options = ("kernels-fp16", "fp16") if kind.endswith("fp16") else ()
        subject = emulated(tiny_model, *options)
    batch = real_patches(subject.config)
    found, expected = subject.layers(batch), network(tiny_checkpoint, batch)
    names = ["features"] if kind.startswith("emulated") else list(expected)
    assert list(found) == names
    for name in names:
        assert found[name].dtype == np.float32
        assert relative(found[name], expected[name]) <= tolerance, name
    if kind not in ("torch", "onnx", "graphs", "emulated"):
        assert relative(found["features"], expected["features"]) > 1e-5  # or nothing was rounded
    assert subject.precision == next((p for p in ("fp16", "int8") if p in kind), "fp32")
    scales = subject.config.scales
    if subject.respond is not None:
        responses = subject.respond(batch[:scales], batch[-scales:])
        features = expected["features"]
        exact = respond(subject.config, features[:scales], features[-scales:])
        assert relative(responses, exact) <= 10 * tolerance


def test_graphs_that_do_not_go_together_or_were_altered_are_refused(tiny_model, make_checkpoint, tmp_path):
    graphs = export_graphs(tiny_model)
    second = export_onnx(make_checkpoint(), tmp_path / "tiny.onnx", {"interp_factor": 0.5}).path
    localize, learn = export_graphs(second).values()
    learn.write_bytes(graphs["learn"].read_bytes())
    with pytest.raises(
        model.ModelError, match=r"tiny.localize.onnx was made from model .*, tiny.learn.onnx from"
    ):
        open_subject(str(localize))
    learn.unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny\.learn\.onnx"):
        open_subject(str(localize))
    for kind, path in (("learn", learn), ("localize", localize)):
        path.write_bytes(graphs[kind].read_bytes().replace(b"regularization", b"regularisation"))
    with pytest.raises(model.ModelError, match="was altered after its export"):
        open_subject(str(localize))


def test_patches_go_through_a_device_in_whole_pyramids(tiny_model):
    device = HostDevice()
    config, backbone, _ = open_backbone(str(tiny_model), device, "kernels")
    batch, sizes = real_patches(config), []
    together = device_features(device, backbone, config, batch)
    backbone.max_images, enqueue = 7, backbone.enqueue

    def counted(patches, features, images):
        sizes.append(images)
        enqueue(patches, features, images)

    backbone.enqueue = counted
    np.testing.assert_array_equal(device_features(device, backbone, config, batch), together)
    assert sizes == [6, 6]
    backbone.close()
    assert device.live == 0


@pytest.mark.parametrize(
    ("kernels", "precision"), [("", "FP32"), (":kernels", "FP32"), (":kernels-fp16", "FP16")]
)
def test_a_model_on_the_gpu(monkeypatch, tiny_model, kernels, precision):
    """On a machine where the emulated device passes for a GPU."""
    monkeypatch.setattr(subjects, "open_device", lambda gpu: HostDevice())
    monkeypatch.setattr(available, "missing", lambda gpu=0: "")
    subject = open_subject(f"cuda:{tiny_model}{kernels}")
    assert subject.precision == precision.lower()
    assert subject.about == f"our kernels, {precision} on emulated device"


def test_without_a_gpu_there_is_one_sentence(monkeypatch, tiny_model):
    monkeypatch.setattr(available, "missing", lambda gpu=0: "there is no NVIDIA driver")
    for given in (f"cuda:{tiny_model}", "some.engine"):
        with pytest.raises(RuntimeError, match=rf"{given} cannot run: there is no NVIDIA driver"):
            open_subject(given)


@pytest.mark.parametrize("given", ["a.safetensors", "a.onnx", "a.localize.onnx", "a-name"])
def test_what_is_missing_is_named(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=given):
        open_subject(given)
