"""A workspace of the vot-toolkit: its configuration, our trackers as commands, and the sequences it runs on.

The format is that of vot-toolkit 0.7.4. Nothing of it is imported: these are text files, and links to the
frames.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spcnet.benchmarks.trackers import refuse_twins, split_label
from spcnet.benchmarks.vot.stacks import SUPERVISED, VOT2015, resolve
from spcnet.common.boxfile import read_lines
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track, read_frame
from spcnet.runtime import model


class Workspace(NamedTuple):
    """The workspace that was made."""

    folder: Path
    trackers: tuple[str, ...]  # their names in the toolkit
    sequences: tuple[str, ...]


def make(
    data: Path,
    folder: Path,
    trackers: Sequence[str],
    stack: str,
    fps: int = 30,
    threads: int = 1,
    allow_missing: bool = False,
) -> Workspace:
    """Make folder a workspace for the sequences in data: of VOT, or in a layout that bench accuracy reads.

    A data set of VOT has list.txt with the names, and <name>/groundtruth.txt; it stays where it is. Of others
    the boxes are written and the frames linked; fps is the rate of their cameras. trackers are names of
    models of ours, or trax:COMMAND LINE. A workspace that is there already and the same is left, with its
    results. Raises FileNotFoundError naming what is missing, FileExistsError when folder is another,
    ValueError on bad names.
    """
    data, folder = Path(data).absolute(), Path(folder).absolute()
    if not (str(data) + str(folder)).isascii():
        raise ValueError(f"{data} or {folder} is not ASCII, as paths must be in TraX; give other folders")
    stack_name, texts = resolve(stack)
    links: dict[str, Path] = {}
    if (data / "list.txt").is_file():
        names = _check_vot(data, stack, allow_missing)
        sequences = str(data)
    else:
        videos = open_data(data)
        names, sequences = [video.name for video in videos], "sequences"
        texts["sequences/list.txt"] = "".join(f"{name}\n" for name in names)
        for video in videos:
            if stack in SUPERVISED and not np.isfinite(video.boxes).all():
                raise ValueError(
                    f"{video.name} has no box in frame "
                    f"{int(np.isnan(video.boxes).any(axis=1).argmax()) + 1}; the supervised {stack} needs "
                    "one in every frame: leave the sequence out, or give another --stack"
                )
            home, suffix = f"sequences/{video.name}", _suffix(video)
            texts[f"{home}/sequence"] = _describe(video, fps)
            texts[f"{home}/groundtruth.txt"] = "".join(
                ",".join(f"{v:.4f}" for v in box) + "\n" for box in video.boxes
            )
            for number, frame in enumerate(video.paths, 1):
                links[f"{home}/color/{number:08d}{suffix}"] = frame.absolute()
    commands = _commands(trackers, threads)
    texts["trackers.ini"] = _registry(commands)
    # A JSON string is a YAML string.
    texts["config.yaml"] = (
        f"registry:\n- ./trackers.ini\nstack: {json.dumps(stack_name)}\nsequences: {json.dumps(sequences)}\n"
    )
    _write(folder, texts, links)
    return Workspace(folder, tuple(commands), tuple(names))


def _commands(trackers: Sequence[str], threads: int) -> dict[str, str]:
    """The toolkit's name of each tracker -> the command line that makes it speak TraX."""
    commands: dict[str, str] = {}
    for tracker in trackers:
        label, what = split_label(tracker)
        if what.startswith("trax:"):
            command = what.removeprefix("trax:").strip()
            name = label or Path(command.split()[0] if command else "tracker").stem
        else:
            found = model.find(what)
            named = str(found.resolve()) if what.endswith(".onnx") else what
            name = label or found.stem
            command = shlex.join([sys.executable, "-m", "spcnet", "trax", named, "--threads", str(threads)])
        name = re.sub(r"[^A-Za-z0-9_-]", "-", name)  # the toolkit takes no more
        refuse_twins([*commands, name], trackers)
        commands[name] = command
    return commands


def _registry(commands: Mapping[str, str]) -> str:
    registry = configparser.ConfigParser()
    for name, command in commands.items():
        registry[name] = {"label": name, "protocol": "trax", "command": command.replace("%", "%%")}
    text = io.StringIO()
    registry.write(text)
    return text.getvalue()


def _check_vot(data: Path, stack: str, allow_missing: bool) -> list[str]:
    """The names of the sequences in a data set of VOT, which must be there."""
    names = read_lines(data / "list.txt")
    wanted = VOT2015 if stack == "vot2015" and not allow_missing else ()
    missing = [name for name in wanted if name not in names]
    missing += [name for name in names if not (data / name / "groundtruth.txt").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{data} lacks {len(missing)} sequences: {', '.join(missing)}; expected <name>/groundtruth.txt "
            "for each name in list.txt, and all 60 of VOT2015 with its stack; add them, or give "
            "--allow-missing for a part of VOT2015"
        )
    return names


def _describe(video: Track, fps: int) -> str:
    height, width = read_frame(video.frames[0]).shape[:2]
    about = {
        "name": video.name,
        "fps": fps,
        "format": "default",
        "channel.default": "color",
        "channels.color": f"color/%08d{_suffix(video)}",
        "width": width,
        "height": height,
        "length": len(video.frames),
    }
    return "".join(f"{key}={value}\n" for key, value in about.items())


def _suffix(video: Track) -> str:
    # The toolkit takes no other name; readers go by what is inside.
    return ".png" if video.paths[0].suffix.lower() == ".png" else ".jpg"


def _write(folder: Path, texts: Mapping[str, str], links: Mapping[str, Path]) -> None:
    if folder.exists():
        for name, text in texts.items():
            if not (folder / name).is_file() or (folder / name).read_text() != text:
                raise FileExistsError(f"{folder} is there, but not with this {name}; give a new folder")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)) / "workspace"
    try:
        for name in (*texts, *links):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (aside / name).write_text(text, "utf-8")
        for name, frame in links.items():
            (aside / name).symlink_to(frame)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside.parent)
