"""Open a network in ONNX Runtime on the CPU, from the bytes of an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime as ort

MAX_THREADS = 128  # ONNX Runtime starts all of them at once


def check_threads(threads: int) -> None:
    """Raise ValueError on a number that ONNX Runtime cannot have; 0 lets it choose."""
    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(
            f"threads is {threads}; give a number up to {MAX_THREADS}, or 0 to let ONNX Runtime choose"
        )


def onnx_runtime() -> Any:
    """The package onnxruntime, which only some backends need. Raises RuntimeError without it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeError(
            f"ONNX Runtime is needed for this and does not import ({error}); pip install "
            "'spcnet[onnxruntime]', or track with backend='native' or 'cuda'"
        ) from None
    return onnxruntime


def open_session(data: bytes, threads: int = 1) -> ort.InferenceSession:
    """The session of a network that lies in these bytes alone, and that read_network takes.

    Raises ValueError, whose text goes on after the name of the network, RuntimeError without ONNX Runtime.
    """
    ort = onnx_runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises kinds of its own
        reason = str(error).splitlines()[0]
        raise ValueError(f"does not open in ONNX Runtime ({reason}); copy or export it again") from None
