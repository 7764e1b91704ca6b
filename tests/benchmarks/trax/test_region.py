import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trax import Mask, Polygon, Rectangle
from trax._ctypes import trax_region_encode

from spcnet.benchmarks.trax import region


def _written(area):
    """A region as vot-trax writes it."""
    characters, text = trax_region_encode(area.reference), bytearray()
    while (byte := characters[len(text)]) != b"\0":
        text += byte
    return text.decode()


def test_an_upright_rectangle_stays_as_it_is():
    corners = np.array([(10, 20), (40, 20), (40, 60), (10, 60)], float)
    for points in (corners, corners[::-1], np.roll(corners, 1, axis=0)):
        np.testing.assert_allclose(region.of_polygon(points), (10, 20, 30, 40))
    mask = np.zeros((9, 11), np.uint8)
    mask[2:5, 3:10] = 255
    np.testing.assert_allclose(region.of_mask(mask, (100, 200)), (103, 202, 7, 3))


@given(
    st.floats(-500, 2000), st.floats(-500, 2000), st.floats(5, 200), st.floats(5, 200), st.floats(0, math.pi)
)
def test_a_rotated_rectangle_keeps_centre_area_and_the_aspect_of_its_bounds(cx, cy, w, h, angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) / 2) @ turn.T + (cx, cy)
    x, y, width, height = region.of_polygon(points)
    np.testing.assert_allclose((x + width / 2, y + height / 2), (cx, cy), atol=1e-6)
    np.testing.assert_allclose(width * height, w * h, rtol=1e-9)
    np.testing.assert_allclose(width / height, np.ptp(points[:, 0]) / np.ptp(points[:, 1]), rtol=1e-9)


def test_polygon_and_mask_follow_one_rule(rng):
    triangle = np.array([(3, 5), (63, 25), (23, 85)], float)
    rows, columns = np.mgrid[:100, :100] + 0.5
    inside = np.ones((100, 100), bool)
    for (x0, y0), (x1, y1) in zip(triangle, np.roll(triangle, -1, axis=0), strict=True):
        inside &= (x1 - x0) * (rows - y0) - (y1 - y0) * (columns - x0) > 0
    found = region.of_mask(inside.astype(np.uint8), (0, 0))
    np.testing.assert_allclose(found, region.of_polygon(triangle), atol=0.5)


def test_what_vot_trax_writes_is_read(rng):
    assert region.parse(_written(Rectangle.create(1.25, -2.5, 30, 40))) == (1.25, -2.5, 30, 40)
    assert region.parse("0") is None and region.parse("-3") is None  # special: no target
    corners = [(0.0, 0.5), (10.0, 0.0), (12.0, 9.0), (1.0, 8.0)]
    np.testing.assert_allclose(
        region.parse(_written(Polygon.create(corners))), region.of_polygon(np.array(corners)), atol=1e-4
    )
    for shape in ((1, 1), (5, 7), (40, 31)):
        mask = (rng.random(shape) < 0.4).astype(np.uint8)
        mask.flat[-1] = 1
        text = _written(Mask.create(mask, x=3, y=4))
        np.testing.assert_allclose(region.parse(text), region.of_mask(mask, (3, 4)))


NONSENSE = """
here 1,2 1,2,3 1,2,3,4,5 1,2,3,nan inf,2,3,4 1,2,0,4 1,2,3,-4 1,1,2,2,3,3 1,1,2,2,nan,3
mask: mask:1,2,3 mask:1,2,3,4,x mask:0,0,2,2,0,5 mask:0,0,2,2,0,-1 mask:0,0,2,2 mask:0,0,-2,2,4
mask:0,0,999999,999999,0,4
"""


@pytest.mark.parametrize("text", ("", *NONSENSE.split()))
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match=r"region|rectangle|polygon|mask"):
        region.parse(text)
