"""Patches to features: the backbone in ONNX Runtime, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.model import INPUT, OUTPUT, Model, ModelError
from spcnet.runtime.session import check_threads, open_session

if TYPE_CHECKING:
    import onnxruntime as ort


def backbone_session(found: Model, threads: int = 1) -> ort.InferenceSession:
    """The backbone of a model in ONNX Runtime, on so many threads; 0 lets it choose.

    Raises ModelError where it does not open or has other inputs and outputs, ValueError, and RuntimeError
    without ONNX Runtime.
    """
    check_threads(threads)
    try:
        session = open_session(found.data, threads)
    except ValueError as error:
        raise ModelError(f"{found.path} {error}") from None
    n, m = found.config.patch_size, found.config.grid
    for values, name, shape in (
        (session.get_inputs(), INPUT, [3, n, n]),
        (session.get_outputs(), OUTPUT, [found.config.channels, m, m]),
    ):
        given = [(v.name, v.type, v.shape[1:]) for v in values]
        if given != [(name, "tensor(float)", shape)]:
            raise ModelError(
                f"{found.path} has {given}, expected {name} of float (batch, {shape}); export it again"
            )
    return session


class OnnxBackbone:
    """phi on the CPU. Reads and writes the given arrays in place, without a copy."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._binding = session.io_binding()

    def __call__(self, patches: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """patches (B, 3, N, N) to out (B, C, M, M); both float32, contiguous, of the model's shape."""
        if not (patches.flags.c_contiguous and out.flags.c_contiguous):
            raise ValueError("patches and out must be contiguous")
        self._binding.bind_input(INPUT, "cpu", 0, np.float32, patches.shape, patches.ctypes.data)
        self._binding.bind_output(OUTPUT, "cpu", 0, np.float32, out.shape, out.ctypes.data)
        self._session.run_with_iobinding(self._binding)
