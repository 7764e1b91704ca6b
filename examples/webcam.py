"""Track what you draw a box around, before a camera: python examples/webcam.py [SOURCE]

SOURCE is the number of a camera (0), or a video. Drag the box with the mouse, then press Enter; Esc ends.
Without a display, X,Y,W,H as a second argument is the box, and the places are printed.
"""

import sys

import cv2

import spcnet
from spcnet.runtime.video import open_video

source, *box = sys.argv[1:] or ["0"]
tracker = spcnet.Tracker("base")
with tracker, open_video(source) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(
                frame, [float(v) for v in box[0].split(",")] if box else cv2.selectROI("spcnet", frame)
            )
            continue
        result = tracker.update(frame)
        x, y, w, h = (round(v) for v in result.box)
        if box:
            if number % 20 == 0:
                print(f"{number} {result.status.name} {x} {y} {w} {h}")
            continue
        colour = (0, 200, 0) if result.status == spcnet.Status.TRACKING else (0, 0, 200)
        cv2.rectangle(frame, (x, y), (x + w, y + h), colour, 2)
        cv2.imshow("spcnet", frame)
        if cv2.waitKey(1) == 27:
            break
