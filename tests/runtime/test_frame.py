import cv2
import numpy as np
import pytest

from spcnet.runtime.frame import as_bgr, check_format


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
        (np.zeros((2, 32767), np.uint8), ValueError, r"\(2, 32767\); give sides of at most 32766 px"),
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


@pytest.mark.parametrize("pixel_format", ["rgb", "bgra", "rgba"])
def test_other_layouts_are_reordered(rng, pixel_format):
    bgr = rng.integers(0, 256, (6, 7, 3), np.uint8)
    alpha = np.full((6, 7, 1), 9, np.uint8)
    other = {
        "rgb": bgr[..., ::-1],
        "bgra": np.concatenate([bgr, alpha], 2),
        "rgba": np.concatenate([bgr[..., ::-1], alpha], 2),
    }[pixel_format]
    np.testing.assert_array_equal(as_bgr(other, pixel_format), bgr)


def test_nv12_is_luma_over_interleaved_chroma():
    frame = np.concatenate([np.full((4, 6), 81, np.uint8), np.tile(np.uint8([90, 240]), (2, 3))])
    np.testing.assert_allclose(as_bgr(frame, "nv12"), np.tile([0, 0, 255], (4, 6, 1)), atol=2)  # BT.601 red


@pytest.mark.parametrize(
    ("shape", "pixel_format", "text"),
    [
        ((6, 7, 4), "rgb", r"frame has shape \(6, 7, 4\); give \(H, W, 3\) for rgb"),
        ((6, 7, 3), "rgba", r"give \(H, W, 4\) for rgba"),
        ((6, 7), "rgb", r"give \(H, W, 3\) for rgb"),
        ((7, 6), "nv12", r"give NV12 as \(H \* 3 / 2, W\) with H and W even"),
        ((6, 7), "nv12", "NV12"),
        ((6, 8, 3), "nv12", "NV12"),
    ],
)
def test_a_shape_that_the_layout_does_not_have_is_refused(shape, pixel_format, text):
    with pytest.raises(ValueError, match=text):
        as_bgr(np.zeros(shape, np.uint8), pixel_format)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="pixel_format is 'yuyv'; give one of bgr, rgb, bgra, rgba, nv12"):
        check_format("yuyv")
