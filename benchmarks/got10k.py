"""The GOT-10k toolkit: its experiments run our trackers, and its functions check our scores.

    from got10k.experiments import ExperimentOTB
    from spcnet.benchmarks.got10k import Got10kTracker

    experiment = ExperimentOTB("OTB", version=2013)
    experiment.run(Got10kTracker("base", one_based=True))
    experiment.report(["base"])

`python -m spcnet.benchmarks.got10k OTB RESULTS --tracker base` scores result files with the toolkit and with
ours.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from got10k.experiments import ExperimentUAV123
from got10k.trackers import Tracker
from PIL import Image

from spcnet.benchmarks.accuracy.results import read_result
from spcnet.benchmarks.options import DATA, add_suite
from spcnet.benchmarks.trackers import open_tracker
from spcnet.common.boxfile import ONE_BASED
from spcnet.common.metrics import Floats, measure, precision_curve, success_curve
from spcnet.common.output import table
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track

TOLERANCE = 1e-6


class Got10kTracker(Tracker):  # type: ignore[misc]  # the toolkit has no types
    """A tracker of open_tracker (a zoo name, an .onnx file, csrt, ...) as the toolkit's experiments drive it.

    The toolkit hands over boxes as the data set's files have them: give one_based for OTB and UAV123, which
    count pixels from 1, and leave it out for GOT-10k. Its result files are then in the convention of the data
    set too.
    """

    def __init__(self, tracker: str = "base", threads: int = 1, one_based: bool = False) -> None:
        self._contender = open_tracker(tracker, threads)
        self._origin = ONE_BASED if one_based else np.zeros(4)
        super().__init__(name=self._contender.name, is_deterministic=True)

    def init(self, image: Image.Image, box: Floats) -> None:
        """Begin with the target in box x, y, w, h of an RGB image."""
        self._contender.init(_frame(image), (np.asarray(box, np.float64) - self._origin).tolist())

    def update(self, image: Image.Image) -> Floats:
        """The box x, y, w, h (4,) in the next RGB image."""
        return np.array(self._contender.update(_frame(image)), np.float64) + self._origin


def _frame(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


class _Scoring(ExperimentUAV123):  # type: ignore[misc]
    """The toolkit's scores without its data sets. UAV123 is scored as OTB, less frames without a target."""

    def __init__(self) -> None:
        self.nbins_iou, self.nbins_ce = 21, 51


def compare(folder: Path, tracker: str, videos: Sequence[Track]) -> tuple[Floats, Floats]:
    """The curves of each sequence (n, 21 + 51), success and precision: ours, and the toolkit's.

    Both score the same files against the same truth; each side reads the files itself. Raises as read_result.
    """
    toolkit = _Scoring()
    ours, theirs = [], []
    for video in videos:
        overlaps, errors = measure(read_result(folder, tracker, video), video.boxes)
        ours.append(np.concatenate((success_curve(overlaps), precision_curve(errors))))
        text = (Path(folder) / tracker / f"{video.name}.txt").read_text()
        boxes = np.loadtxt(io.StringIO(text.replace(",", " ")), ndmin=2)
        theirs.append(np.concatenate(toolkit._calc_curves(*toolkit._calc_metrics(boxes, video.boxes))))
    return np.array(ours), np.array(theirs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores of both sides and their largest difference; 1 where it is over TOLERANCE."""
    parser = argparse.ArgumentParser(
        description="score result files with the GOT-10k toolkit and with spcnet"
    )
    parser.add_argument("data", type=Path, help=DATA)
    parser.add_argument("results", type=Path, help="folder that bench accuracy wrote its results to")
    parser.add_argument("--tracker", action="append", required=True, help="a folder of results; repeat")
    add_suite(parser)
    options = parser.parse_args(arguments)
    videos = open_data(options.data, options.suite, allow_missing=options.allow_missing)
    rows, differences = [], []
    for name in options.tracker:
        both = compare(options.results, name, videos)
        differences.append(float(np.abs(both[0] - both[1]).max()))
        for side, curves in zip(("spcnet", "got10k"), both, strict=True):
            mean = curves.mean(0)
            shown = (mean[:21].mean(), mean[10], mean[21 + 20])
            rows.append((f"{name}, {side}", *(f"{value:.9f}" for value in shown)))
        rows.append((f"{name}, largest difference of a curve", "", "", f"{differences[-1]:.1e}"))
    print(table(("scored by", "AUC", "OP@.5", "DP@20"), rows))
    worst = float(np.max(differences))
    verdict = "agree" if worst <= TOLERANCE else "differ"
    print(
        f"{len(videos)} sequences: the two {verdict} (largest difference {worst:.1e}, allowed "
        f"{TOLERANCE:.0e})."
    )
    return int(verdict == "differ")


if __name__ == "__main__":
    raise SystemExit(main())
