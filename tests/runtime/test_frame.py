import cv2
import numpy as np
import pytest

from spcnet.runtime.frame import as_bgr


@pytest.mark.parametrize(
    ("frame", "kind", "message"),
    [
        (None, TypeError, "frame is a NoneType"),
        ([[1]], TypeError, "frame is a list"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "dtype float32; give uint8"),
        (np.zeros((4, 4, 3), np.uint16), TypeError, "dtype uint16"),
        (np.zeros((4,), np.uint8), ValueError, r"shape \(4,\)"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"shape \(4, 4, 2\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"shape \(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "frame is empty"),
        (np.zeros((0, 0), np.uint8), ValueError, "frame is empty"),
    ],
)
def test_bad_frames_are_refused(frame, kind, message):
    with pytest.raises(kind, match=message):
        as_bgr(frame)


def test_other_layouts_are_converted(rng):
    frame = rng.integers(0, 256, (20, 30, 3), np.uint8)
    assert as_bgr(frame) is frame
    strided = frame[:, ::-1]
    found = as_bgr(strided)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, strided)
    grey = frame[..., 0]
    for layout in (grey, grey[..., None]):
        np.testing.assert_array_equal(as_bgr(layout), np.repeat(grey[..., None], 3, -1))
    bgra = cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA)
    np.testing.assert_array_equal(as_bgr(bgra), frame)
