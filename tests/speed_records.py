"""Made-up records of bench speed, as the command writes them."""

import numpy as np

from spcnet.benchmarks.latency.calibration import WORKLOAD
from spcnet.benchmarks.latency.samples import summary
from spcnet.benchmarks.latency.speed import FORMAT

PERIOD = 19


def conditions(**cpu):
    """A steady machine, as the conditions before or after."""
    known = {"governors": ["performance"], "throttled": 0, "quota_throttled": 0}
    return {"cpu": {**known, **cpu}, "jetson": None, "gpus": []}


def record(rng, slower=1.0, names=("one", "two"), stage_slower=1.0, frames=600):
    """Trackers of 2 and 4 ms a frame with one stage, in 4 runs; all are slower by the factor."""
    runs = [frames // 4] * 4
    noise = lambda: np.exp(rng.normal(scale=0.03, size=frames))
    trackers = {}
    for index, name in enumerate(names):
        work = 2.0 * (index + 1) * (1 + 0.3 * (np.arange(frames) % runs[0] % PERIOD % 2))
        times, stage = work * slower * noise(), 0.5 * work * stage_slower * noise()
        trackers[name] = {
            "kind": "ours",
            "identity": f"sha of {name}",
            "threads": {
                "1": {
                    "frame_ms": summary(times),
                    "stage_ms": {"crop": summary(stage)},
                    "runs": runs,
                    "samples_ms": times.tolist(),
                    "stage_samples_ms": {"crop": stage.tolist()},
                    "unsettled": 0,
                }
            },
        }
    kernel = {part: noise().tolist() for part in ("product", "warp")}
    return {
        "format": FORMAT,
        "machine": {"processor": "P", "cores": 2, "system": "Linux", "numpy": "2.0"},
        "conditions": {
            "before": conditions(),
            "after": conditions(),
            "shares": {"others": 0.01, "stolen": 0.0},
            "mhz": [3000.0, 3010.0],
            "clock_step_ms": 1e-4,
        },
        "size": [320, 240],
        "clip": {"name": "made", "frames": PERIOD + 1, "box": [1, 2, 3, 4], "sha256": "s"},
        "calibration": {"1": {"work": WORKLOAD, "runs": runs, "part_samples_ms": kernel}},
        "trackers": trackers,
        "warnings": [],
    }
