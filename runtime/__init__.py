"""The runtime: track with NumPy, OpenCV and ONNX Runtime, or on a GPU (cuda/); never torch.

The data flow, one file a step: video → frame → patches → features → dcf → locate → geometry → recovery. A
backend puts the steps together and owns the targets (backend: the protocol; cpu, graphs, cuda/backend: the
implementations; open: the switch); tracker is the public interface.
"""

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import Box
from spcnet.runtime.model import ModelError
from spcnet.runtime.recovery import Status
from spcnet.runtime.tracker import MultiTracker, Result, Tracker

__all__ = ["Box", "ModelError", "MultiTracker", "Result", "Status", "Tracker", "TrackerConfig"]
