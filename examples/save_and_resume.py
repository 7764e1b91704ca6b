"""Save a target, and go on with it in another tracker: python examples/save_and_resume.py

The second tracker may run in another process or on another machine, later, and on another backend.
"""

import numpy as np

import spcnet
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video

tracker = spcnet.Tracker("nano")
with open_video(DEMO_VIDEO) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, DEMO_BOX)
            continue
        if number == 50:
            np.savez("target.npz", **tracker.state_dict())
            tracker.close()
            tracker = spcnet.Tracker("nano", backend="cpu")
            with np.load("target.npz", allow_pickle=False) as state:
                tracker.load_state_dict(state)
        result = tracker.update(frame)
        if number in (49, 50, 51):
            print(f"{number} {tracker.backend} {result.status.name} {[round(v) for v in result.box]}")
