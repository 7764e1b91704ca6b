"""Kill the verbs that write, at moments spread over their work: half-written files, others' files replaced.

python tests/kills.py [POINTS PER VERB] [VERB ...]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import safetensors
import safetensors.numpy
import synthetic
import tomli_w

from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO

POINTS = 13
MODELS = DEMO_VIDEO.parent.parent / "models"
BOX = ",".join(map(str, DEMO_BOX))
VERBS = {  # in a folder with the data, to out/; first what lies there already, of this or of somebody else
    "track": (
        ("a.mp4", "a.csv", "a.jsonl"),
        f"track {DEMO_VIDEO} --box {BOX} --model nano --video out/a.mp4 --csv out/a.csv --jsonl out/a.jsonl",
    ),
    "export": (("a.onnx",), f"export {MODELS}/nano.safetensors -o out/a.onnx --graphs"),
    "prepare": ((), "prepare data.toml -o out"),
    "bench": ((), "bench accuracy tracks --tracker nano --tracker mosse -o out"),
    "train": ((), "train data.toml -o out --resume"),
}
FOREIGN, OLDER = "notes.txt", b"older"


def make_data(folder: Path) -> None:
    """Eight tracks, and a training config of them."""
    video = synthetic.moving_target(60, (240, 320))
    synthetic.write_tracks(folder / "tracks", [f"track{n}" for n in range(8)], *video, ".jpg")
    tables = {
        "data": {"sources": [{"format": "got10k", "path": "tracks"}], "validation": ["track1"]},
        "optim": {"stages": [{"steps": 40}], "batch": 4, "warmup": 2, "workers": 0, "validate_every": 2},
        "tracker": {"patch_size": 25, "channels": 4},
    }
    (folder / "data.toml").write_text(tomli_w.dumps(tables))


def begin(folder: Path, older: tuple[str, ...]) -> Path:
    """A folder out/ with somebody else's file and older ones."""
    out = Path(tempfile.mkdtemp(dir=folder))
    for name in (FOREIGN, *older):
        (out / name).write_bytes(OLDER)
    link = folder / "out"
    link.unlink(missing_ok=True)
    link.symlink_to(out.name)
    return out


def files(out: Path) -> dict[str, bytes]:
    """The files below a folder by name, but those written aside, which are hidden."""
    paths = (p for p in out.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def start(folder: Path, words: str) -> subprocess.Popen[str]:
    """A process of its own session, so that all it has started can be killed with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "spcnet", *words.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def is_whole(name: str, data: bytes, whole: dict[str, bytes]) -> bool:
    """Whether a file is as it is after a run that was not disturbed, or where it holds times can be read."""
    if name.endswith("_time.txt"):
        return len(data.splitlines()) == len(whole[name].splitlines()) and data.endswith(b"\n")
    if name.endswith(".json") and data != whole.get(name):
        return bool(json.loads(data))
    if name.endswith(".safetensors"):
        return bool(safetensors.numpy.load(data))
    return name.endswith(".md") or "tfevents" in name or data == whole.get(name)  # tfevents is a log


def faults(found: dict[str, bytes], whole: dict[str, bytes], older: tuple[str, ...]) -> list[str]:
    """What is wrong with the files after a kill."""
    said = [f"{name} is gone" for name in (FOREIGN, *older) if name not in found]
    for name, data in found.items():
        if name == FOREIGN or (name in older and data == OLDER):
            said += [f"{name} is replaced"] * (data != OLDER)
            continue
        try:
            fine = is_whole(name, data, whole)
        except (ValueError, KeyError, safetensors.SafetensorError):
            fine = False
        said += [f"{name} is half written: {len(data)} bytes"] * (not fine)
    return said


def kill(verb: str, points: int, folder: Path) -> tuple[int, list[str]]:
    """Kill a verb at work at so many moments: how often that was done, and what went wrong."""
    older, words = VERBS[verb]
    out, before, first = begin(folder, older), time.monotonic(), 0.0
    process = start(folder, words)
    while process.poll() is None:
        if not first and len(list(out.iterdir())) > 1 + len(older):
            first = time.monotonic() - before
        time.sleep(0.005)
    assert process.returncode == 0, process.communicate()[1]
    process.communicate()
    whole, seconds = files(out), time.monotonic() - before
    killed, said = 0, []
    for point in range(2 * points):  # some come too late
        if killed == points:
            break
        out = begin(folder, older)
        with start(folder, words) as process:
            time.sleep(0.9 * first + (seconds - 0.9 * first) * ((point % points) + 0.5) / points)
            killed += process.poll() is None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        said += [f"{verb}, kill {point}: {fault}" for fault in faults(files(out), whole, older)]
    with start(folder, words) as process:  # after the last kill
        error = process.communicate()[1]
    said += [f"{verb} does not go on: {error}"] * (process.returncode != 0)
    return killed, said + [f"{verb}, gone on: {fault}" for fault in faults(files(out), whole, older)]


def main(points: int, verbs: list[str]) -> list[str]:
    """Print the number of kills of each verb; returns what went wrong."""
    said = []
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder))
        for verb in verbs:
            killed, wrong = kill(verb, points, Path(folder))
            print(f"{verb}: killed {killed} times at work, {len(wrong)} faults", flush=True)
            said += wrong
    return said


if __name__ == "__main__":
    given = sys.argv[1:]
    wrong = main(int(given[0]) if given else POINTS, given[1:] or list(VERBS))
    sys.exit("\n".join(wrong))
