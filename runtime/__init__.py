"""Track: the runtime on a CPU. NumPy, OpenCV and ONNX Runtime; never torch.

The data flow, one file a step: video → frame → patches → features → dcf → locate → geometry, put together
by backend (which owns the targets) and tracker (which is the public face).
"""

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import Box
from spcnet.runtime.model import ModelError
from spcnet.runtime.recovery import Status
from spcnet.runtime.tracker import MultiTracker, Result, Tracker

__all__ = ["Box", "ModelError", "MultiTracker", "Result", "Status", "Tracker", "TrackerConfig"]
