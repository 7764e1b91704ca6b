"""A cache of scanned data sets: a million frames are listed once, not at each start.

One file for each source in the cache folder: flat arrays, never pickled. It is valid while the format, the
folder's path, and the names, sizes and times of change of the files and folders that the format watches stay
the same. A file that is changed in place deeper down, such as one of a million XML files, is not noticed; a
file added there is.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from spcnet.common.tracks import ImageFiles, Track
from spcnet.runtime.files import replacing

FORMAT = "spcnet-scan-2"


def fingerprint(folder: Path, watched: Iterable[str]) -> str:
    """Changes with the name, size or time of change of folder and of what the patterns in it match."""
    digest = hashlib.sha256(f"{FORMAT}\0{Path(folder).resolve()}".encode())
    for path in (folder, *(path for pattern in watched for path in sorted(folder.glob(pattern)))):
        entry = path.stat()
        digest.update(f"\0{path.relative_to(folder)}\0{entry.st_size}\0{entry.st_mtime_ns}".encode())
    return digest.hexdigest()


def save(path: Path, tracks: Sequence[Track], mark: str) -> None:
    """Write tracks, whose frames are ImageFiles, and the fingerprint mark to path in one step.

    Raises OSError.
    """
    files = [track.frames for track in tracks if isinstance(track.frames, ImageFiles)]
    folders = list(dict.fromkeys(file.folder for file in files))
    number = {folder: index for index, folder in enumerate(folders)}
    with replacing(path) as aside, aside.open("wb") as file:
        np.savez(
            file,
            mark=np.array(mark),
            tracks=np.array([track.name for track in tracks]),
            folders=np.array([os.fspath(folder) for folder in folders]),
            folder=np.array([number[file.folder] for file in files]),
            starts=np.cumsum([0, *(len(track.frames) for track in tracks)]),
            frames=np.concatenate([file.names for file in files]),
            boxes=np.concatenate([track.boxes for track in tracks]),
        )


def load(path: Path, mark: str) -> list[Track] | None:
    """The tracks that save wrote, or None if there are none of this fingerprint, or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["mark"]) != mark:
                return None
            folders = [Path(folder) for folder in stored["folders"].tolist()]
            names, numbers, starts = (
                stored["tracks"].tolist(),
                stored["folder"].tolist(),
                stored["starts"].tolist(),
            )
            frames, boxes = stored["frames"], stored["boxes"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return [
        Track(name, ImageFiles(folders[place], frames[first:last]), boxes[first:last])
        for name, place, first, last in zip(names, numbers, starts, starts[1:], strict=False)
    ]
