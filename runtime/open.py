"""The one switch between backends: open a model on the CPU or on a GPU."""

from __future__ import annotations

import logging
import operator
from pathlib import Path
from typing import Any

from spcnet.runtime import model
from spcnet.runtime.backend import BACKENDS, Backend, automatic
from spcnet.runtime.cpu import CpuBackend
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.frame import check_format
from spcnet.runtime.graphs import GRAPH, GraphBackend, open_graphs

_log = logging.getLogger("spcnet")


def open_backend(
    path: str,
    backend: str = "auto",
    threads: int = 1,
    pixel_format: str = "bgr",
    scales: int | None = None,
    **cuda: Any,
) -> Backend:
    """Open a model (a name of the zoo, or a path) on a backend: "cpu", "native", "cuda", or "auto".

    "auto" takes the GPU if one can be used, else the C library if it was built and takes the model. An engine
    runs on a GPU only, portable graphs (NAME.localize.onnx) in "cpu" only, the model file of the C library
    (NAME.spcnet) in "native" only; these have the scales they were built for, other models those that are
    given. cuda are the keywords of spcnet.runtime.cuda.open.open_cuda. Raises ValueError, RuntimeError.
    """
    try:
        threads = operator.index(threads)
    except TypeError:
        raise TypeError(f"threads is {threads!r:.80}; give a whole number") from None
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; give one of {', '.join(BACKENDS)}")
    check_format(pixel_format)
    if scales is not None and path.endswith((GRAPH, ".engine", model.NATIVE_SUFFIX)):
        raise ValueError(
            f"scales is {scales}, but {path} was built for those of its model; give the .onnx, or build "
            "it from a model with these"
        )
    chosen, reason = backend, "as asked"
    if path.endswith(GRAPH):
        chosen, reason = "cpu", f"{path} is a portable graph"
        if backend not in ("auto", chosen):
            raise ValueError(
                f"{reason}, which runs in backend='cpu' only; give the model, {path.removesuffix(GRAPH)}.onnx"
            )
    elif path.endswith(model.NATIVE_SUFFIX):
        chosen, reason = "native", f"{path} is a model of the C library"
        if backend not in ("auto", chosen):
            raise ValueError(
                f"{reason}, which runs in backend='native' only; give the .onnx it was made from"
            )
    elif backend == "auto":
        chosen, reason = automatic()
    _log.info("backend %s: %s", chosen, reason)
    if chosen == "cuda":
        from spcnet.runtime.cuda.open import open_cuda  # pycuda is needed only here

        return open_cuda(path, pixel_format=pixel_format, scales=scales, **cuda)
    if cuda:
        raise ValueError(
            f"{', '.join(cuda)} given, but the backend is {chosen} ({reason}); only cuda takes them"
        )
    if path.endswith(".engine"):
        raise ValueError(
            f"{path} is a TensorRT engine, which needs a GPU ({reason}); give the .onnx it was built from"
        )
    if chosen == "native":
        from spcnet.runtime.native.backend import open_native

        try:
            return open_native(path, threads, pixel_format, scales)
        except model.ModelError as error:
            if backend != "auto" or path.endswith(model.NATIVE_SUFFIX):
                raise
            _log.info("backend cpu: %s", error)
    if path.endswith(GRAPH):
        return GraphBackend(open_graphs(Path(path), threads), pixel_format)
    found = model.load(model.find(path), scales)
    backbone = OnnxBackbone(backbone_session(found, threads))
    try:
        cpu = CpuBackend(found.config, backbone, pixel_format, found.regression)
    except ValueError as error:
        raise model.ModelError(f"{found.path}: {error}") from None
    cpu.model = found.sha256
    return cpu
