"""Open the CUDA backend: device, backbone, model."""

from __future__ import annotations

import logging
from pathlib import Path

from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda import available
from spcnet.runtime.cuda.backbone import ConvBackbone, DeviceBackbone, OrtBackbone, open_ort_session
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.model import ModelError
from spcnet.runtime.weights import read_weights

_log = logging.getLogger("spcnet")

BACKBONES = ("auto", "kernels", "kernels-fp16", "onnxruntime")


def open_cuda(
    path: str,
    *,
    pixel_format: str = "bgr",
    backbone: str = "auto",
    gpu: int = 0,
    stream: int | None = None,
    graphs: bool = True,
    allow_host_code: bool = False,
    scales: int | None = None,
) -> CudaBackend:
    """Open a model (zoo name, .onnx or .engine) on a GPU.

    backbone, for .onnx: "kernels" (ours, FP32), "kernels-fp16" (ours, on tensor cores), "onnxruntime" (its
    CUDA provider), or "auto": ours if they can compute the network. gpu is the number of the GPU, stream the
    handle of a CUDA stream to keep order with; graphs=False launches the kernels one by one;
    allow_host_code=True loads a version-compatible engine, which contains CPU code; scales takes the place
    of an .onnx's. Raises RuntimeError if no GPU can be used, ModelError, ValueError, MemoryError.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone is {backbone!r}; give one of {', '.join(BACKBONES)}")
    lacking = available.missing(gpu)
    if lacking:
        raise RuntimeError(f"backend 'cuda' cannot run: {lacking}")
    device = open_device(gpu)
    try:
        with device.activate():
            config, found, head = open_backbone(
                path, device, backbone, gpu, allow_host_code=allow_host_code, scales=scales
            )
        _log.info("on %s: %s; kernels from %s", device.name, found.name, device.origin)
        opened = CudaBackend(device, config, found, head, pixel_format, stream=stream, graphs=graphs)
        if Path(path).suffix != ".engine":
            opened.model = model.load(model.find(path)).sha256
        return opened
    except BaseException:
        device.close()
        raise


def open_device(index: int = 0) -> Device:
    """A GPU by its number: on pycuda where that imports, else on the driver alone."""
    reason = available.import_pycuda()
    if reason:
        from spcnet.runtime.cuda.driver_device import DriverDevice

        _log.info("without pycuda: %s", reason)
        return DriverDevice(index)
    from spcnet.runtime.cuda.pycuda_device import PycudaDevice

    return PycudaDevice(index)


def open_backbone(
    path: str,
    device: Device,
    backbone: str,
    gpu: int = 0,
    *,
    allow_host_code: bool = False,
    scales: int | None = None,
) -> tuple[TrackerConfig, DeviceBackbone, bytes | None]:
    """The model's configuration, its backbone on the device, and its regression head."""
    if Path(path).suffix == ".engine":
        from spcnet.runtime.cuda.engine import open_engine

        return open_engine(Path(path), device, allow_host_code=allow_host_code)
    found = model.load(model.find(path), scales)
    if backbone == "onnxruntime":
        session = open_ort_session(found.path, device.stream, gpu)
        return found.config, OrtBackbone(session, index=gpu), found.regression
    try:
        network = ConvBackbone(device, read_weights(found), half=backbone == "kernels-fp16")
    except ModelError:
        if backbone != "auto":
            raise
        return open_backbone(path, device, "onnxruntime", gpu, scales=scales)
    return found.config, network, found.regression
