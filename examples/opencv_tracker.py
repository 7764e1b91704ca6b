"""In the place of a cv2.Tracker, and for supervision: python examples/opencv_tracker.py"""

import spcnet
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video

tracker = spcnet.Cv2Tracker("nano")  # was cv2.TrackerCSRT_create()
many = spcnet.MultiTracker("nano")
with open_video(DEMO_VIDEO) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, DEMO_BOX)
            many.add(frame, DEMO_BOX)
            continue
        ok, box = tracker.update(frame)
        found = spcnet.detections(many.update(frame))  # sv.Detections(**found)
        if number % 30 == 0:
            print(number, ok, box, found["xyxy"].round().astype(int).tolist(), found["tracker_id"].tolist())
