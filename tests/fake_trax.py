"""A TraX tracker that misbehaves as its first argument says; its second is how it takes images."""

import base64
import hashlib
import sys
import time

import cv2
import numpy as np


def say(text):
    print(text, flush=True)


def pixels(image):
    """The pixels of any form of an image, in BGR."""
    scheme, _, rest = image.partition(":")
    if scheme == "file":
        return cv2.imread(rest[2:])
    if scheme == "image":
        width, height, kind, data = rest.split(";")
        assert kind == "rgb"
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(int(height), int(width), 3)[..., ::-1]
    return cv2.imdecode(np.frombuffer(base64.b64decode(rest.split(";")[1]), np.uint8), cv2.IMREAD_COLOR)


def digest(frame):
    """A box that tells the pixels."""
    return [int(v) + 1 for v in hashlib.sha256(np.ascontiguousarray(frame).tobytes()).digest()[:4]]


if __name__ == "__main__":
    how, form = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "path"
    version = 1 if how == "version1" else 4
    regions = {"polygon": "polygon", "masks": "mask"}.get(how, "rectangle;polygon")
    channels = "color;depth" if how == "depth" else "color"
    if how == "mute":
        time.sleep(60)
    if how == "bare":
        sys.exit("no weights")
    if how == "flood":
        while True:
            say("x" * 1000)
    print("loading weights ...\n@@TRA")
    if how == "early":
        say('@@TRAX:quit "trax.reason=no GPU"')
        sys.exit(1)
    say(
        f'@@TRAX:hello "trax.version={version}" "trax.image={form};" trax.region={regions}'
        f' "trax.channels={channels};"'
        f' "trax.name=fake {how}"'
    )
    seen, where = 0, ""
    for line in sys.stdin:
        words = line.split('"')[1::2]
        if "initialize" in line:
            where = words[-1] if words else ""
            if version == 4:
                continue
        elif "quit" in line:
            break
        seen += 1
        if seen == 3:  # the second update
            if how == "crash":
                raise MemoryError("out of memory")
            if how == "hang":
                time.sleep(60)
            if how == "leave":
                break
            if how == "quit":
                say('@@TRAX:quit "trax.reason=\\"tired\\""')
                break
        say(f"debug: frame {seen}")
        answers = {
            "echo": where,
            "polygon": where,
            "status": "1,2,3,4",
            "special": "5,6,7,8" if seen == 2 else "0",
            "nan": "nan,2,3,4",
            "words": "here",
            "empty": "1,2,0,4",
            "mask": "mask:10,20,4,3,5,2,2,2,1",
        }
        box = answers.get(how) or ",".join(map(str, digest(pixels(words[0]))))
        say(f'@@TRAX:{"status" if how == "status" else "state"} "{box}" "confidence=0.5"')
    if how == "stubborn":
        time.sleep(60)
