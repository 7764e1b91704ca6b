"""The runtime: track with NumPy, OpenCV and ONNX Runtime, or on a GPU (cuda/); never torch.

The data flow, one file a step: video → frame → patches → features → dcf → locate → geometry → recovery. A
backend puts the steps together and owns the targets (backend: the protocol; cpu, graphs, cuda/backend: the
implementations; open: the switch); tracker is the public interface.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spcnet.runtime.config import TrackerConfig
    from spcnet.runtime.dropin import Cv2Tracker, detections
    from spcnet.runtime.geometry import Box
    from spcnet.runtime.model import ModelError
    from spcnet.runtime.overlay import draw
    from spcnet.runtime.recovery import Status
    from spcnet.runtime.tracker import MultiTracker, Result, Tracker

__all__ = [
    "Box",
    "Cv2Tracker",
    "ModelError",
    "MultiTracker",
    "Result",
    "Status",
    "Tracker",
    "TrackerConfig",
    "detections",
    "draw",
]

_HOMES = {
    "Box": "geometry",
    "Cv2Tracker": "dropin",
    "ModelError": "model",
    "MultiTracker": "tracker",
    "Result": "tracker",
    "Status": "recovery",
    "Tracker": "tracker",
    "TrackerConfig": "config",
    "detections": "dropin",
    "draw": "overlay",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is used: `spcnet doctor` must run where a library is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
