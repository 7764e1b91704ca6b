"""Patches to features: the backbone in ONNX Runtime, on the CPU."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spcnet.runtime.model import INPUT, OUTPUT


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
