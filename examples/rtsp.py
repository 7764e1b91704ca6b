"""Track in the stream of an IP camera: python examples/rtsp.py rtsp://CAMERA/STREAM X,Y,W,H

The newest frame is tracked: what comes while one is worked on is dropped and counted, and a stream that stops
is opened again for a while. http:// and files work, too.
"""

import sys

import spcnet
from spcnet.runtime.video import open_video

if len(sys.argv) != 3:
    sys.exit(__doc__)
url, box = sys.argv[1], [float(v) for v in sys.argv[2].split(",")]
with spcnet.Tracker("nano") as tracker, open_video(url) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, box)
            continue
        result = tracker.update(frame)
        if number % 20 == 0:
            x, y, w, h = result.box
            print(f"{number} {result.status.name} {x:.0f} {y:.0f} {w:.0f} {h:.0f}")
    print(f"{frames.dropped} frames were dropped")
