"""The record and the tables of bench accuracy: text files of a run, and of others, scored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spcnet.benchmarks.accuracy import attributes, protocols, results, run, tables
from spcnet.benchmarks.accuracy.protocols import OPE
from spcnet.benchmarks.accuracy.track import Entry
from spcnet.common import output
from spcnet.common.metrics import Score
from spcnet.common.tracks import Track


class ResultFiles(NamedTuple):
    """Where results are: <folder>/<tracker>/<sequence>.txt."""

    name: str  # in tables
    kind: str
    identity: str
    folder: Path
    tracker: str
    settings: str = ""  # what else than the identity results depend on
    ran: bool = True  # by us, so that there may be other protocols, and reasons for what is missing
    one_based: bool = False


class Scored(NamedTuple):
    """Of one protocol, by tracker, then by sequence."""

    scores: dict[str, dict[str, Score]]
    failed: dict[str, dict[str, str]]  # why there is no score; only trackers that failed


def of_run(entries: Sequence[Entry], folder: Path) -> list[ResultFiles]:
    """The files of trackers that were run."""
    return [ResultFiles(e.name, e.kind, e.identity, Path(folder), e.name, e.settings) for e in entries]


def of_folder(name: str, folder: Path, one_based: bool = False) -> ResultFiles:
    """Somebody's files. Raises FileNotFoundError when there are none."""
    folder = Path(folder).resolve()
    found = sorted(folder.glob("*.txt"))
    if not found:
        done = ", ".join(sorted({path.parent.name for path in folder.parent.glob("*/*.txt")}))
        others = f"; {folder.parent} has results of {done}" if done else ""
        raise FileNotFoundError(
            f"no result in {folder}; expected <sequence>.txt with x,y,w,h for every frame{others}"
        )
    identity = hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()
    return ResultFiles(name, "peer", identity, folder.parent, folder.name, ran=False, one_based=one_based)


def of_others(named: str, videos: Sequence[Track], one_based: bool = False) -> ResultFiles:
    """Somebody's files, from NAME=FOLDER. Raises ValueError, FileNotFoundError when none can be scored."""
    name, sign, place = named.partition("=")
    if not (name and sign and place):
        raise ValueError(f"--results {named!r} is not NAME=FOLDER, such as SiamFC=results/SiamFC")
    files = of_folder(name, Path(place), one_based)
    failed = score([files], videos).failed.get(name, {})
    if len(failed) == len(videos):
        raise ValueError(next(iter(failed.values())))
    return files


def score(files: Sequence[ResultFiles], videos: Sequence[Track], protocol: str = OPE) -> Scored:
    """Score all files. A missing or wrong file is a failure of its sequence."""
    scored = Scored({}, {})
    for file in files:
        if protocol != OPE and not file.ran:
            continue
        own, failed = scored.scores.setdefault(file.name, {}), {}
        why = run.failures(file.folder, file.tracker, videos, protocol) if file.ran else {}
        for video in videos:
            try:
                if video.name in why:
                    raise ValueError(why[video.name])
                if protocol == OPE:
                    own |= results.score_folder(file.folder, file.tracker, [video], file.one_based)
                else:
                    own[video.name] = protocols.score_starts(file.folder, file.tracker, video, protocol)
            except (FileNotFoundError, ValueError) as error:
                failed[video.name] = str(error)
        if failed:
            scored.failed[file.name] = failed
    return scored


def record(
    files: Sequence[ResultFiles], videos: Sequence[Track], scored: Mapping[str, Scored]
) -> dict[str, Any]:
    """The contents of accuracy.json; scored is by protocol.

    Means are over the sequences that all trackers finished.
    """
    scores, failed = scored[OPE]
    alike = tables.shared(scores)
    compared = [video for video in videos if any(video.name in own for own in alike.values())]
    found: dict[str, Any] = {}
    for file in files:
        own = alike.get(file.name, {})
        found[file.name] = {
            "kind": file.kind,
            "identity": file.identity,
            "settings": file.settings,
            "mean": tables.mean(own)._asdict(),
            **_times(file, compared),
            **_curves(file, compared if own else []),
            "auc_by_attribute": attributes.mean_auc(own),
            "by_sequence": {video: score._asdict() for video, score in scores[file.name].items()},
        }
    others = {protocol: one for protocol, one in scored.items() if protocol != OPE}
    for protocol, one in others.items():
        for name, own in tables.shared(one.scores).items():
            found[name][protocol] = tables.mean(own)._asdict()
    best, below = tables.differences(alike) if compared else (None, {})
    made: dict[str, Any] = {
        "sequences": len(videos),
        "frames": sum(len(v.frames) for v in videos),
        "compared": [video.name for video in compared],
        "attributes": attributes.counts(v.name for v in compared),
        "failed": failed,
        "failed_starts": {protocol: one.failed for protocol, one in others.items()},
        "remarks": [
            remark for file in files if not file.ran for remark in _remarks(file, videos, scored[OPE])
        ],
        "best": best,
        "below_best": below,
        "trackers": found,
    }
    return dict(output.valid(made))


def markdown(record: Mapping[str, Any], scored: Mapping[str, Scored]) -> str:
    """The same as tables."""
    one_pass = scored[OPE].scores
    times = {name: math.nan if own["ms"] is None else own["ms"] for name, own in record["trackers"].items()}
    parts = (
        tables.accuracy_markdown(one_pass, times),
        tables.difference_markdown(tables.shared(one_pass)) if record["compared"] else "",
        *(tables.start_markdown(protocol, one.scores) for protocol, one in scored.items() if protocol != OPE),
        tables.attribute_markdown(one_pass),
        *(tables.failure_markdown(one.failed) for one in scored.values()),
    )
    return "\n".join(part for part in parts if part)


def _remarks(file: ResultFiles, videos: Sequence[Track], scored: Scored) -> list[str]:
    own = [video for video in videos if video.name in scored.scores[file.name]]
    return results.remarks(file.folder, file.tracker, own, file.one_based)


def _times(file: ResultFiles, videos: Sequence[Track]) -> dict[str, float | None]:
    """Median and mean ms of a frame, the first of each sequence left out."""
    ms = 1e3 * results.seconds(file.folder, file.tracker, videos)
    return {"ms": float(np.median(ms)) if len(ms) else None, "mean_ms": float(ms.mean()) if len(ms) else None}


def _curves(file: ResultFiles, videos: Sequence[Track]) -> dict[str, list[float]]:
    if not videos:
        return {"success": [], "precision": []}
    success, precision = results.curves(file.folder, file.tracker, videos, file.one_based)
    return {"success": success.tolist(), "precision": precision.tolist()}
