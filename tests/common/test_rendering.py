import hashlib
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from synthetic import texture, write_cutout, write_image

from spcnet.common import rendering
from spcnet.common.composition import CANVAS, FRAMES, Composition, all_sprites, front_sprites, view
from spcnet.common.rendering import SEEN, ComposedFrame, boxes, render
from spcnet.common.tracks import ComposedFrames, Track, read_bytes, read_frame
from spcnet.runtime.imagefile import read_image


@pytest.fixture(scope="module")
def compositions(tmp_path_factory):
    """One of each seed: half of them with an object alike, all with another and an occluder."""
    folder = tmp_path_factory.mktemp("compositions")
    target = write_cutout(folder / "a_1.png")
    other = write_cutout(folder / "b_1.png", (200, 40, 90), (33, 90))
    block, ground = folder / "c_1.png", folder / "ground.png"
    cv2.imwrite(str(block), np.full((50, 50, 4), 255, np.uint8))
    cv2.imwrite(str(ground), texture(np.random.default_rng(0), 90, 131, 12))
    return [Composition(ground, target, (target,) * (seed % 2), (other,), block, seed) for seed in range(60)]


def mask(sprite, number):
    """(CANVAS, CANVAS): where an object covers more than half, drawn through the inverse of its map."""
    white = sprite._replace(
        texture=np.repeat(sprite.texture[..., 3:], 4, 2), gain=np.ones((FRAMES, 3)), step=0 * sprite.step
    )
    drawn = np.zeros((CANVAS, CANVAS, 3), np.float32)
    rendering._paste(drawn, white, number)
    return drawn[..., 0] > 0.5


def edges(box):
    """Left, top, right and bottom of x, y, w, h."""
    x, y, w, h = box
    return np.array([x, y, x + w, y + h], float)


def test_boxes_are_those_of_the_drawn_masks(compositions):
    errors = []
    for composition in compositions:
        target, found = front_sprites(composition)[0], boxes(composition)
        for number in range(0, FRAMES, 7):
            if np.isfinite(found[number]).all():
                drawn = cv2.boundingRect(mask(target, number).astype(np.uint8))
                errors.append(np.abs(edges(drawn) - edges(found[number])).max())
    assert len(errors) > 400 and max(errors) < 1, max(errors)


def test_a_target_is_absent_where_little_of_it_can_be_seen(compositions):
    absent = 0
    for composition in compositions:
        found = np.isfinite(boxes(composition)).all(1)
        target, *front = front_sprites(composition)
        for number in range(0, FRAMES, 3):
            hidden = np.any([mask(sprite, number) for sprite in front], 0)
            scale = abs(np.linalg.det(target.matrix[number, :, :2]))
            share = (mask(target, number) & ~hidden).sum() / (scale * (target.texture[..., 3] > 0.5).sum())
            if abs(share - SEEN) > 0.08:  # boxes reckons it from some hundred points
                assert found[number] == (share > SEEN), (composition.seed, number, share)
            assert number or share > 0.9  # a tracker begins there
            absent += not found[number]
    assert absent > 10


def test_the_target_is_drawn_in_its_box(compositions, monkeypatch):
    """A frame without it differs there and nowhere else, but for blur."""
    compared, number = 0, 33
    for composition in compositions[::2]:  # one alike could be behind it
        target, *front = front_sprites(composition)
        covered = np.any([mask(sprite, number) for sprite in front], 0) & mask(target, number)
        box = boxes(composition)[number]
        if view(composition).quality or covered.any() or not (edges(box) % CANVAS > 0).all():
            continue
        frame = ComposedFrame(composition, number)
        with monkeypatch.context() as patch:
            rest = [sprite for sprite in all_sprites(composition) if sprite is not target]
            patch.setattr(rendering, "all_sprites", lambda _, rest=rest: rest)
            without = render(frame).astype(int)
        differs = np.abs(render(frame) - without).max(2) > 12
        error = np.abs(edges(cv2.boundingRect(differs.astype(np.uint8))) - edges(box))
        assert (error <= 3 + np.abs(np.tile(target.step[number], 2)) / 2).all(), (composition.seed, error)
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_map_has_its_inverse(compositions, seed):
    points = np.random.default_rng(0).uniform(-20, 20, (2, 50))
    for sprite in all_sprites(compositions[seed]):
        mapped = sprite.forward(points)
        back = np.stack(sprite.inverse(slice(None), mapped[:, 0], mapped[:, 1]), 1)
        np.testing.assert_allclose(back - sprite.centre[:, None], [points] * FRAMES, atol=1e-9)
        one = np.stack(sprite.inverse(7, mapped[7, 0], mapped[7, 1]))
        np.testing.assert_allclose(one, back[7], atol=1e-12)


SCRIPT = """
import hashlib, pickle, sys
from spcnet.common.rendering import boxes, render
frames = pickle.load(sys.stdin.buffer)
pixels = [render(frame).tobytes() for frame in frames[::-1]]  # in another order
found = boxes(frames[0].composition)
print(hashlib.sha256(b"".join(pixels[::-1])).hexdigest(), hashlib.sha256(found).hexdigest())
"""


def test_every_process_composes_the_same(compositions):
    frames = [*ComposedFrames(compositions[3])[::20], *ComposedFrames(compositions[4])[::20]]
    output = subprocess.check_output([sys.executable, "-c", SCRIPT], input=pickle.dumps(frames))
    pixels = b"".join(render(frame).tobytes() for frame in frames)
    assert output.decode().split() == [
        hashlib.sha256(data).hexdigest() for data in (pixels, boxes(compositions[3]))
    ]


def test_the_name_decides_the_composition(tmp_path):
    files = [write_cutout(tmp_path / f"a_{number}.png") for number in range(1, 9)]
    ground = [write_image(tmp_path / f"{number}.jpg") for number in range(9)]
    drawn = [Composition.of(file, files, files, ground) for file in files]
    assert drawn == [Composition.of(file, files, files, ground) for file in files]
    assert len({composition.seed for composition in drawn}) == 8


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 91), (97, 2), (500, 7)])
def test_objects_and_backgrounds_of_any_size(tmp_path, height, width):
    path, ground = tmp_path / "a_1.png", write_image(tmp_path / "a.jpg", 1, 1)
    cv2.imwrite(str(path), np.full((height, width, 4), 200, np.uint8))
    composition = Composition.of(path, [path], [path], [ground])
    assert np.isfinite(boxes(composition)[0]).all()
    assert render(ComposedFrame(composition, 59)).shape == (CANVAS, CANVAS, 3)


def test_composed_frames_are_frames(compositions):
    frames = ComposedFrames(compositions[0])
    assert len(frames) == FRAMES and len(frames[10:20:2]) == 5
    assert frames[10:20][1] == frames[11] == frames[-49] == list(frames)[11]
    assert Track("t", frames, boxes(compositions[0])).paths == []
    image = read_frame(frames[11])
    assert image.shape == (CANVAS, CANVAS, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(read_image(read_bytes(frames[11])), image)
    with pytest.raises(IndexError):
        frames[FRAMES]
