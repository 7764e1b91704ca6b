"""What a run is worth: its text files scored, as a record and as tables."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spcnet.benchmarks.accuracy import attributes, protocols, results, run, tables
from spcnet.benchmarks.accuracy.metrics import Score
from spcnet.benchmarks.accuracy.protocols import OPE
from spcnet.benchmarks.accuracy.sequences import Sequence as Video
from spcnet.benchmarks.accuracy.track import Entry


class Files(NamedTuple):
    """Where results are: <folder>/<tracker>/<sequence>.txt."""

    name: str  # in tables
    kind: str
    identity: str
    folder: Path
    tracker: str
    ours: bool  # written by run, so that there may be other protocols and reasons for what is missing


class Scored(NamedTuple):
    """By tracker, then by sequence."""

    scores: dict[str, dict[str, dict[str, Score]]]  # of each protocol
    failed: dict[str, dict[str, str]]  # why there is no score


def of_run(entries: Sequence[Entry], folder: Path) -> list[Files]:
    """The files of trackers that were run."""
    return [Files(e.name, e.kind, e.identity, Path(folder), e.name, True) for e in entries]


def of_others(named: str) -> Files:
    """Somebody's files, from NAME=FOLDER. Raises ValueError, FileNotFoundError when there are none."""
    name, sign, place = named.partition("=")
    folder = Path(place).resolve()
    if not (name and sign and place):
        raise ValueError(f"--results {named!r} is not NAME=FOLDER, such as SiamFC=results/SiamFC")
    found = sorted(folder.glob("*.txt"))
    if not found:
        raise FileNotFoundError(f"no result in {place}; expected <sequence>.txt with x,y,w,h for every frame")
    identity = hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()
    return Files(name, "peer", identity, folder.parent, folder.name, False)


def score(files: Sequence[Files], videos: Sequence[Video], asked: Sequence[str]) -> Scored:
    """Score all files. What is missing or wrong is a failure of that sequence."""
    scored = Scored({protocol: {f.name: {} for f in files} for protocol in asked}, {})
    for file in files:
        why = run.failures(file.folder, file.tracker, videos, asked) if file.ours else {}
        for protocol in asked:
            own = scored.scores[protocol][file.name]
            for video in videos:
                try:
                    if protocol == OPE:
                        own |= results.score_folder(file.folder, file.tracker, [video])
                    elif file.ours:
                        own[video.name] = protocols.score_starts(file.folder, file.tracker, video, protocol)
                except (FileNotFoundError, ValueError) as error:
                    why.setdefault(video.name, str(error))
        if why:
            scored.failed[file.name] = why
    return scored


def record(files: Sequence[Files], videos: Sequence[Video], scored: Scored) -> dict[str, Any]:
    """What accuracy.json says of the trackers. Means are over the sequences that all have finished."""
    one_pass = tables.shared(scored.scores[OPE])
    counted = [video for video in videos if all(video.name in own for own in one_pass.values())]
    found: dict[str, Any] = {}
    for file in files:
        own = scored.scores[OPE][file.name]
        found[file.name] = {
            "kind": file.kind,
            "identity": file.identity,
            "mean": _plain(tables.mean(one_pass.get(file.name, {}))),
            **_times(file, counted),
            **_curves(file, counted if file.name in one_pass else []),
            "auc_by_attribute": attributes.mean_auc(one_pass.get(file.name, {})),
            "by_sequence": {video: _plain(score) for video, score in own.items()},
        }
    for protocol, scores in scored.scores.items():
        for name, own in tables.shared(scores).items():
            if protocol != OPE:
                found[name][protocol] = _plain(tables.mean(own))
    return {
        "sequences": len(videos),
        "frames": sum(len(v.frames) for v in videos),
        "compared": [video.name for video in counted],
        "attributes": attributes.counts(v.name for v in counted),
        "failed": scored.failed,
        "trackers": found,
    }


def markdown(scored: Scored, times: Mapping[str, float]) -> str:
    """All tables."""
    one_pass = scored.scores[OPE]
    others = {protocol: scores for protocol, scores in scored.scores.items() if protocol != OPE}
    parts = (
        tables.accuracy_markdown(one_pass, times),
        tables.robustness_markdown(others),
        tables.attribute_markdown(one_pass),
        tables.failure_markdown(scored.failed),
    )
    return "\n".join(part for part in parts if part)


def _plain(score: Score) -> dict[str, float | None]:
    return dict(zip(("auc", "op", "dp"), map(_number, score), strict=True))


def _times(file: Files, videos: Sequence[Video]) -> dict[str, float | None]:
    """Median and mean ms of a frame, the first of each sequence left out."""
    paths = [file.folder / file.tracker / f"{video.name}_time.txt" for video in videos]
    seconds = [np.loadtxt(path, ndmin=1)[1:] for path in paths if path.is_file()]
    mean = 1e3 * float(np.concatenate(seconds).mean()) if seconds else math.nan
    return {"ms": _number(results.median_ms(file.folder, file.tracker, videos)), "mean_ms": _number(mean)}


def _curves(file: Files, videos: Sequence[Video]) -> dict[str, list[float]]:
    if not videos:
        return {"success": [], "precision": []}
    success, precision = results.curves(file.folder, file.tracker, videos)
    return {"success": success.tolist(), "precision": precision.tolist()}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)
