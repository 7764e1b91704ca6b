"""Let the application decide when to learn: python examples/choose_when_to_learn.py

update() localizes the target and learns its new look. localize() and learn() are its two halves. Here the
filter learns from every third frame, and only while the tracker is sure and the whole target is in the
picture.
"""

from spcnet.runtime import Status, Tracker
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video

tracker = Tracker("nano")
learned = 0
with open_video(DEMO_VIDEO) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, DEMO_BOX)
            continue
        result = tracker.localize(frame)
        x, y, w, h = result.box
        inside = x >= 0 and y >= 0 and x + w <= frame.shape[1] and y + h <= frame.shape[0]
        if number % 3 == 0 and inside and result.status == Status.TRACKING:
            tracker.learn(frame)  # the same frame that was localized
            learned += 1
print(f"learned from {learned} of {number} frames; the target ends at {[round(v) for v in result.box]}")
