"""Ask a detector when the target is lost: python examples/hand_over.py

Frames 30 to 35 of the clip are covered, as by a hand before the camera, and the camera has turned when the
picture is back. The tracker calls the target LOST and looks for it nearby; a detector looks at the whole
frame. Here it is OpenCV's template matching; take your own.
"""

import cv2
import numpy as np

from spcnet.runtime import MultiTracker, Status
from spcnet.runtime.run import DEMO_VIDEO, FACE_BOX
from spcnet.runtime.video import open_video


def detect(frame, template):
    """The box most like template in the whole frame, or None."""
    likeness = cv2.matchTemplate(frame, template, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(likeness)
    height, width = template.shape[:2]
    return (x, y, width, height) if np.isfinite(best) and best > 0.7 else None


tracker = MultiTracker("base")
with open_video(DEMO_VIDEO) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            target = tracker.add(frame, FACE_BOX)
            status = Status.TRACKING
        else:
            if 30 <= number < 36:
                frame = np.full_like(frame, 90)
            elif number >= 36:
                frame = np.roll(frame, 400, axis=1)
            result = tracker.update(frame)[target]
            if result.status != status:
                print(f"{number} {result.status.name}")
            status = result.status
        if status == Status.TRACKING:
            x, y, w, h = (round(v) for v in (FACE_BOX if number == 0 else result.box))
            template = frame[max(y, 0) : y + h, max(x, 0) : x + w].copy()
        elif status == Status.LOST:
            box = detect(frame, template)
            if box is not None:
                tracker.restart(target, frame, box)  # learnt anew, there, under its id
                status = Status.TRACKING
                print(f"{number} handed over to {box}")
