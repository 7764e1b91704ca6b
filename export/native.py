"""Checkpoint or model to the model file of the C library."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.common.metrics import iou
from spcnet.export.launches import record
from spcnet.runtime import model
from spcnet.runtime.backend import Backend
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cpu import CpuBackend
from spcnet.runtime.cuda.backbone import TENSOR_CORES
from spcnet.runtime.cuda.images import build_fatbin
from spcnet.runtime.files import write_bytes
from spcnet.runtime.native.backend import NativeBackend
from spcnet.runtime.native.library import missing
from spcnet.runtime.native.modelfile import native_file
from spcnet.runtime.open import open_backend
from spcnet.runtime.regression import HeadWeights, head_weights
from spcnet.runtime.run import DEMO_VIDEO, FACE_BOX
from spcnet.runtime.tracker import Tracker
from spcnet.runtime.video import open_video
from spcnet.runtime.weights import Weights, read_weights

FRAMES, OVERLAP = 12, 0.999  # of the demo clip, and the least IoU of the boxes there


def export_native(
    source: Path,
    target: Path,
    overrides: Mapping[str, Any] | None = None,
    gpus: Sequence[int] = (),
) -> str:
    """Write the file of a checkpoint, an ONNX model or a name of the zoo; returns how it was checked.

    overrides changes fields of a checkpoint's tracker config that do not belong to the network; gpus are the
    compute capabilities (87 is 8.7) that it gets code for. Raises FileNotFoundError, ModelError, ValueError,
    CompileError without a compiler for a GPU, and RuntimeError where the library tracks in another way.
    """
    if target.suffix != model.NATIVE_SUFFIX:
        raise ValueError(f"the model to write is {target}; give it a name that ends in {model.NATIVE_SUFFIX}")
    if source.suffix == ".safetensors":
        network, reference, head = _of_checkpoint(source, overrides or {})
    elif overrides:
        raise ValueError(f"{source} is a model, whose config is fixed; give its checkpoint to change it")
    else:
        found = model.load(model.find(source))
        network, reference, head = read_weights(found), open_backend(str(source), "cpu"), found.regression
    regression = head_weights(head, reference.config)
    parts = for_gpus(reference.config, network, regression, gpus) if gpus else {}
    data = native_file(reference.config, network, regression, parts)
    checked = check_native(data, target.name, reference)
    write_bytes(target, data)
    return checked


def check_native(data: bytes, name: str, reference: Backend) -> str:
    """Track the demo clip by the library and by the reference. Raises RuntimeError where the boxes differ.

    Both begin anew in every frame, on one box: over many frames rounding may decide which way they go.
    """
    if reason := missing():
        return f"not compared with its source: {reason}"
    trackers = [Tracker(backend) for backend in (reference, NativeBackend(data, name))]
    boxes: list[list[NDArray[np.float64]]] = [[], []]
    with open_video(str(DEMO_VIDEO)) as video:
        for before, frame in pairwise(islice(video, FRAMES)):
            for tracker, found in zip(trackers, boxes, strict=True):
                tracker.init(before, FACE_BOX)
                found.append(np.array(tracker.update(frame).box))
    worst = float(iou(np.array(boxes[0]), np.array(boxes[1])).min())
    told = f"on {FRAMES - 1} frames of video: IoU of the boxes at least {worst:.5f} (allowed {OVERLAP})"
    if not worst >= OVERLAP:
        raise RuntimeError(f"NOT equal to its source {told}; {name} is not written")
    return f"equal to its source {told}"


def for_gpus(
    config: TrackerConfig, network: Weights, head: HeadWeights | None, gpus: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """The tensors of a file for GPUs of these compute capabilities."""
    with tempfile.TemporaryDirectory() as folder:
        path, _ = build_fatbin(gpus, Path(folder) / "kernels.fatbin")
        parts = {"code": np.frombuffer(path.read_bytes(), np.uint8)}
    with_cores, least = 10 * TENSOR_CORES[0] + TENSOR_CORES[1], min(gpus)
    for capability in {least, max(least, with_cores)} if max(gpus) >= with_cores else {least}:
        recorded = record(config, network, head, capability)
        parts |= {f"{capability}.{name}": array for name, array in recorded.items()}
    return parts


def _of_checkpoint(source: Path, overrides: Mapping[str, Any]) -> tuple[Weights, Backend, bytes | None]:
    """Its network, itself in torch, and its regression head."""
    import torch  # only a checkpoint needs it

    from spcnet.export.head import load_head
    from spcnet.export.onnx import changed_config
    from spcnet.training.checkpoint import load_backbone

    backbone, config, _ = load_backbone(source)
    config = changed_config(config, overrides)
    head = load_head(source, config)
    weights, biases = (
        [np.asarray(getattr(layer, part).numpy(), np.float32) for layer in backbone.convolutions]
        for part in ("weight", "bias")
    )

    def features(patches: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        out[:] = backbone(torch.from_numpy(patches)).numpy()

    network = Weights(backbone.layers, weights, biases)
    return network, CpuBackend(config, features, regression=head), head
