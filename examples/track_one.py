"""Track one target: python examples/track_one.py"""

from spcnet.runtime import Status, Tracker
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video

tracker = Tracker("nano")  # a name of the zoo, or the path of an .onnx file
with open_video(DEMO_VIDEO) as frames:  # any iterable of (H, W, 3) uint8 BGR arrays will do
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, DEMO_BOX)  # x, y, w, h in pixels, 0-based
            continue
        result = tracker.update(frame)
        if result.status != Status.LOST and number % 20 == 0:
            x, y, w, h = result.box
            print(f"{number} {result.status.name} {x:.1f} {y:.1f} {w:.1f} {h:.1f} score {result.score:.2f}")
