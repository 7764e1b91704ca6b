import cv2
import numpy as np
import pytest
from synthetic import write_cutout, write_image

from spcnet.common.readers.cutouts import read_cutouts
from spcnet.common.tracks import read_frame

OBJECTS = ("ship_10", "ship_20", "ship_11", "cup_12", "cup_30", "cup_5", "cup")


@pytest.fixture
def folders(tmp_path):
    for number, name in enumerate(OBJECTS):
        write_cutout(tmp_path / "objects" / f"{name}.png", shape=(40 + number, 30))
        write_image(tmp_path / "backgrounds" / f"{name}.jpg")
    return tmp_path / "objects", tmp_path / "backgrounds"


def files(found):
    occluder = [found.occluder] if found.occluder else []
    return [found.background, found.target, *found.alike, *found.others, *occluder]


def test_a_track_for_each_object(folders):
    tracks = read_cutouts(*folders)
    assert sorted(track.name for track in tracks) == sorted(OBJECTS)
    assert all(track.frames.composition.target.stem == track.name for track in tracks)
    assert all(
        len(track.frames) == 60 and track.boxes.shape == (60, 4) and track.present[0] for track in tracks
    )


def test_held_out_tracks_share_nothing_with_the_others(tmp_path):
    for number in range(60):
        write_cutout(tmp_path / "objects" / f"a_{number}.png")
        write_image(tmp_path / "backgrounds" / f"{number}.jpg")
    used = {True: set(), False: set()}
    for track in read_cutouts(tmp_path / "objects", tmp_path / "backgrounds"):
        used[track.name.endswith("0")].update(files(track.frames.composition))
    assert {path.stem[-1] for path in used[True]} == {"0"} and len(used[True]) > 6
    assert not used[True] & used[False] and "0" not in {path.stem[-1] for path in used[False]}


def test_those_alike_are_of_one_kind(tmp_path):
    for name in ("ship", "cup", "cat"):
        for number in range(1, 10):
            write_cutout(tmp_path / "objects" / f"{name}_{number}.png")
    write_image(tmp_path / "backgrounds" / "a.jpg")
    compositions = [
        track.frames.composition for track in read_cutouts(tmp_path / "objects", tmp_path / "backgrounds")
    ]
    alike = [
        (composition.target.stem, other.stem) for composition in compositions for other in composition.alike
    ]
    assert all(one.partition("_")[0] == two.partition("_")[0] for one, two in alike)
    assert {one == two for one, two in alike} == {True, False}


def test_other_layouts_give_nothing_and_lacking_backgrounds_are_told(folders):
    objects, backgrounds = folders
    assert read_cutouts(backgrounds, backgrounds) == []  # JPEG files have no alpha
    for path in backgrounds.glob("*0.jpg"):
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"backgrounds has no picture whose name ends in 0; cup_30\.png needs one"
    ):
        read_cutouts(objects, backgrounds)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((20, 20, 3), 9, np.uint8), r"has the shape \(20, 20, 3\) .*needs four channels of 8 bits"),
        (np.full((20, 20), 9, np.uint8), r"has the shape \(20, 20\)"),
        (
            np.full((20, 20, 4), 9, np.uint16),
            "has the .* dtype uint16; an object needs",
        ),
        (np.full((20, 20, 4), 127, np.uint8), "has no pixel of more than half alpha"),
    ],
)
def test_images_that_are_no_objects_are_refused(folders, image, message):
    cv2.imwrite(str(folders[0] / "cup_5.png"), image)
    with pytest.raises(ValueError, match=r"cup_5\.png " + message):
        read_cutouts(*folders)


@pytest.mark.parametrize("data", [b"", b"damaged", None])
def test_damaged_objects_are_named(folders, data):
    path = folders[0] / "cup_5.png"
    path.write_bytes(path.read_bytes()[:60] if data is None else data)
    with pytest.raises(ValueError, match=r"cup_5\.png cannot be read as an image; it is damaged"):
        read_cutouts(*folders)


def test_a_damaged_background_is_named_when_it_is_read(folders):
    track = read_cutouts(*folders)[0]
    background = track.frames.composition.background
    background.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=rf"{background.name} cannot be read as an image"):
        read_frame(track.frames[0])
    background.unlink()
    with pytest.raises(FileNotFoundError, match=r"no image .*\.jpg; restore it"):
        read_frame(track.frames[0])
