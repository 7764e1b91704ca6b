"""spcnet: train, export and run SPCNet, a tiny visual tracker for edge devices.

`spcnet.Tracker` and the other names of spcnet.runtime are here, too.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spcnet.runtime import (
        Box,
        Cv2Tracker,
        ModelError,
        MultiTracker,
        Result,
        Status,
        Tracker,
        TrackerConfig,
        detections,
        draw,
    )

__version__ = "0.1.0"
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


def __getattr__(name: str) -> Any:
    """A name of the runtime, imported when it is used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from spcnet import runtime

    return getattr(runtime, name)
