"""Open a network in ONNX Runtime on the CPU, from the bytes of an ONNX file."""

from __future__ import annotations

import onnxruntime as ort

from spcnet.runtime.onnxfile import check_network

MAX_THREADS = 128  # ONNX Runtime starts all of them at once


def open_session(data: bytes, threads: int = 1) -> ort.InferenceSession:
    """The session of a network that lies in these bytes alone.

    threads is the number that ONNX Runtime may use; 0 lets it choose. Raises ValueError, whose text goes on
    after the name of the network.
    """
    try:
        check_network(data)
    except ValueError as error:
        raise ValueError(f"{error}; export it again") from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises kinds of its own
        reason = str(error).splitlines()[0]
        raise ValueError(f"does not open in ONNX Runtime ({reason}); copy or export it again") from None
