"""Track several targets in one batch: python examples/track_many.py

A target keeps its id until it is removed, and ids are never used again.
"""

from spcnet.runtime import MultiTracker
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video

BELLY = (330, 470, 120, 120)  # of the rabbit, in frame 10

tracker = MultiTracker("nano")
with open_video(DEMO_VIDEO) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            rabbit = tracker.add(frame, DEMO_BOX)
        elif number == 10:
            belly = tracker.add(frame, BELLY)  # a target may come in any frame
        elif number == 40:
            tracker.remove(rabbit)  # the other one keeps its id
        else:
            results = tracker.update(frame)  # id -> Result
            if number % 15 == 0:
                print(number, {target: [round(v) for v in result.box] for target, result in results.items()})
