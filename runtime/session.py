"""Open a network in ONNX Runtime on the CPU, from the bytes of an ONNX file."""

from __future__ import annotations

import onnxruntime as ort

_EXTERNAL = b"\x0a\x08location\x12"  # protobuf of the key that only external data has


def open_session(data: bytes, threads: int = 1) -> ort.InferenceSession:
    """The session of a network that lies in these bytes alone.

    threads is the number that ONNX Runtime may use; 0 lets it choose. Raises ValueError, whose text goes on
    after the name of the network.
    """
    if _EXTERNAL in data:  # a hash covers the bytes only, and the path may lead anywhere
        raise ValueError("uses external weights, a single file is required; export it again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises kinds of its own
        reason = str(error).splitlines()[0]
        raise ValueError(f"does not open in ONNX Runtime ({reason}); copy or export it again") from None
