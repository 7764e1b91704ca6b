"""Everything that runs a trained network, behind one face, to be compared with any other.

A checkpoint in torch, an ONNX model in ONNX Runtime, the portable graphs, and the pipeline on a device (a
GPU, or the emulated device of the tests).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from spcnet.export.intermediates import Arrays, intermediate_values, relu_outputs
from spcnet.export.tolerances import check_precision, looser
from spcnet.runtime import model
from spcnet.runtime.backend import Backend
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cpu import Backbone, CpuBackend
from spcnet.runtime.cuda import available
from spcnet.runtime.cuda.backbone import DeviceBackbone
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.engine_record import EngineRecord
from spcnet.runtime.cuda.open import BACKBONES, open_backbone, open_device
from spcnet.runtime.dcf import CorrelationFilter
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.graphs import GraphBackend, open_graphs
from spcnet.runtime.model import INPUT, OUTPUT

Real = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """One way to run a network."""

    name: str  # as it was given
    about: str  # what runs it
    precision: str  # of the table of tolerances
    config: TrackerConfig
    layers: Callable[
        [Real], Arrays
    ]  # patches (B, 3, N, N) to its layers by name; all have "features" (B, C, N, N)
    respond: Callable[[Real, Real], Real] | None  # learn on one pyramid, respond to another: (S, N, N)
    open: Callable[[], Backend]  # a new one; the caller closes it


def open_subject(given: str) -> Subject:
    """A subject from the command line.

    FILE.safetensors, FILE.localize.onnx, another FILE.onnx or a name of the zoo; cuda:MODEL,
    cuda:MODEL:BACKBONE (see open_cuda) and FILE.engine need a GPU. Raises FileNotFoundError, ValueError,
    RuntimeError.
    """
    if given.startswith("cuda:") or given.endswith(".engine"):
        return on_gpu(given)
    if given.endswith(".safetensors"):
        return from_checkpoint(Path(given), given)
    if given.endswith(".localize.onnx"):
        return from_graphs(Path(given), given)
    return from_model(model.find(given), given)


def from_checkpoint(path: Path, name: str) -> Subject:
    """The checkpoint in torch, with the runtime's filter."""
    import torch  # only a checkpoint needs it: devices that compare engines have none

    from spcnet.export.head import load_head
    from spcnet.training.checkpoint import load_backbone

    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}; give the checkpoint.safetensors of a training run")
    network, config, _ = load_backbone(path)
    head = load_head(path, config)

    def backbone(patches: Real, out: Real) -> None:
        out[:] = network(torch.from_numpy(patches)).numpy()

    def relus(patches: Real) -> Arrays:
        activations = network.activations(torch.from_numpy(patches))
        return {f"relu {index}": values.numpy() for index, values in enumerate(activations, 1)}

    return _on_cpu(name, f"checkpoint in torch {torch.__version__}", "fp32", config, backbone, relus, head)


def from_model(path: Path, name: str) -> Subject:
    """An exported model in ONNX Runtime on the CPU, with the runtime's filter."""
    found = model.load(path)
    exported = onnx.load(path)
    # The features are those of the session that tracks: in the copy nothing is fused across a ReLU.
    watched = intermediate_values(exported, relu_outputs(exported.graph))
    return _on_cpu(
        name,
        f"ONNX Runtime {ort.__version__} on the CPU",
        check_precision(name, found.provenance.get("precision", "fp32")),
        found.config,
        OnnxBackbone(backbone_session(found)),
        lambda patches: watched({INPUT: patches}),
        found.regression,
    )


def _on_cpu(
    name: str,
    about: str,
    precision: str,
    config: TrackerConfig,
    backbone: Backbone,
    relus: Callable[[Real], Arrays],
    regression: bytes | None,
) -> Subject:
    """A backbone on the CPU, with the runtime's filter."""
    correlation = CorrelationFilter(config)

    def features(patches: Real) -> Real:
        out = np.empty((len(patches), config.channels, config.grid, config.grid), np.float32)
        backbone(patches, out)
        return out

    def respond(train: Real, search: Real) -> Real:
        num, den = correlation.learn(correlation.transform(features(train), learn=True))
        return correlation.respond(num, den, correlation.transform(features(search), learn=False)).copy()

    return Subject(
        name,
        about,
        precision,
        config,
        lambda patches: {**relus(patches), "features": features(patches)},
        respond,
        lambda: CpuBackend(config, backbone, regression=regression),
    )


def from_graphs(path: Path, name: str) -> Subject:
    """NAME.localize.onnx with NAME.learn.onnx beside it, all in ONNX Runtime on the CPU."""
    graphs = open_graphs(path)
    config = graphs.config
    exported = onnx.load(path)
    watched = intermediate_values(exported, {**relu_outputs(exported.graph), "features": OUTPUT})
    shapes = {value.name: value.shape[1:] for value in graphs.localize_session.get_inputs()}

    def layers(patches: Real) -> Arrays:
        pyramids = patches.reshape(-1, *shapes["pyramids"])
        filters = {key: np.zeros((len(pyramids), *shapes[key]), np.float32) for key in ("num", "den")}
        return watched({"pyramids": pyramids, **filters})

    return Subject(
        name,
        f"portable graphs in ONNX Runtime {ort.__version__} on the CPU",
        check_precision(name, graphs.precision),
        config,
        layers,
        lambda train, search: graphs.localize(search, *graphs.learn(train)),
        lambda: GraphBackend(graphs),
    )


def on_gpu(given: str, gpu: int = 0) -> Subject:
    """The CUDA backend of cuda:MODEL, cuda:MODEL:BACKBONE or FILE.engine. Raises RuntimeError."""
    path, _, backbone = given.removeprefix("cuda:").rpartition(":")
    if backbone not in BACKBONES:
        path, backbone = given.removeprefix("cuda:"), "auto"
    lacking = available.missing(gpu)
    if lacking:
        raise RuntimeError(f"{given} cannot run: {lacking}")
    return on_device(
        given,
        lambda: open_device(gpu),
        lambda device: open_backbone(path, device, backbone, gpu),
        lambda: _device_precision(path, backbone),
    )


def _device_precision(path: str, backbone: str) -> str:
    """The precision of a model on a device: that of our FP16 kernels, or that of its file."""
    if path.endswith(".engine"):
        return EngineRecord.from_json(Path(f"{path}.json").read_text("utf-8")).precision
    found = model.load(model.find(path))
    own = check_precision(path, found.provenance.get("precision", "fp32"))
    return looser(own, "fp16") if backbone == "kernels-fp16" else own


def on_device(
    name: str,
    make_device: Callable[[], Device],
    open_network: Callable[[Device], tuple[TrackerConfig, DeviceBackbone, bytes | None]],
    precision: Callable[[], str],
) -> Subject:
    """The CUDA pipeline on any device, made anew for each use; open_network puts the network on it.

    precision is called after the network was opened once, and so was checked.
    """

    def start() -> tuple[Device, TrackerConfig, DeviceBackbone, bytes | None]:
        device = make_device()
        try:
            with device.activate():
                return device, *open_network(device)
        except BaseException:
            device.close()
            raise

    @contextlib.contextmanager
    def opened() -> Iterator[tuple[Device, TrackerConfig, DeviceBackbone]]:
        device, config, backbone, _ = start()
        with contextlib.closing(device), device.activate(), contextlib.closing(backbone):
            yield device, config, backbone

    def layers(patches: Real) -> Arrays:
        with opened() as (device, config, backbone):
            return {"features": device_features(device, backbone, config, patches)}

    with opened() as (device, config, backbone):
        about = f"{backbone.name} on {device.name}"
    return Subject(
        name,
        about,
        check_precision(name, precision()),
        config,
        layers,
        None,
        lambda: CudaBackend(*start()),
    )


def device_features(device: Device, backbone: DeviceBackbone, config: TrackerConfig, patches: Real) -> Real:
    """The features (B, C, N, N) of patches (B, 3, N, N) on an active device."""
    n = config.patch_size
    features = np.empty((len(patches), config.channels, config.grid, config.grid), np.float32)
    # Whole pyramids: an engine takes no fewer patches at once than one target has.
    step = min(backbone.max_images // config.scales * config.scales, len(patches))
    with _memory(device, patches[:step].nbytes) as source, _memory(device, features[:step].nbytes) as target:
        backbone.reserve(step, n)
        for first in range(0, len(patches), step):
            batch = np.ascontiguousarray(patches[first : first + step])
            device.write(source, batch)
            backbone.enqueue(source, target, len(batch))
            device.synchronize()
            device.read(target, features[first : first + step])
    return features


@contextlib.contextmanager
def _memory(device: Device, size: int) -> Iterator[int]:
    address = device.allocate(size)
    try:
        yield address
    finally:
        device.free(address)
