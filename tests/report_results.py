"""Made-up results of a whole run: sequences, result files, and the records that the measuring verbs write."""

import json

import numpy as np
import synthetic

from spcnet.benchmarks.accuracy import record as scoring
from spcnet.benchmarks.confidence import measures
from spcnet.benchmarks.confidence.removal import GONE, Removal
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.latency.samples import summary
from spcnet.benchmarks.roofline import record as costs
from spcnet.benchmarks.roofline.bounds import Roof, StageWork
from spcnet.benchmarks.roofline.frames import UpdateTimes
from spcnet.common.output import valid
from spcnet.common.suites import open_data
from spcnet.runtime import TrackerConfig

EVIL = "<b>\"x\" & 'y'<i>"
STAGES = ("crop", "features", "dft", "learn")
FRAMES = 24


def times(rng, mean, count=60):
    """The part of speed.json on one tracker with a number of threads."""
    samples = mean * rng.lognormal(0, 0.1, count)
    return {
        "frame_ms": summary(samples),
        "fps": 1e3 / samples.mean(),
        "jitter_ms": 0.1,
        "dropped": {"30": 0.0, "60": float((samples > 16.7).mean())},
        "stage_ms": {stage: summary(samples / 5) for stage in STAGES},
        "samples_ms": samples.tolist(),
    }


def write(folder, trackers, sequences, seed=0, size=(240, 320)):
    """Write an OTB folder, result files and records; returns both folders.

    trackers: name -> (kind, px of drift a frame, ms).
    """
    rng = np.random.default_rng(seed)
    data, results = folder / "OTB", folder / "results"
    for index, sequence in enumerate(sequences):
        frames, boxes = synthetic.moving_target(FRAMES, size, seed=index, growth=1.0, velocity=(1, 2))
        synthetic.write_otb(data / sequence, frames, boxes)
    videos, files = open_data(data), []
    for name, (kind, drift, _) in trackers.items():
        (results / name).mkdir(parents=True)
        for video in videos:
            steps = np.arange(len(video.boxes))[:, None] * np.array([drift, 0, 0, 0]) * rng.uniform(0.5, 1.5)
            np.savetxt(results / name / f"{video.name}.txt", video.boxes + steps, "%.3f", ",")
        files.append(scoring.ResultFiles(name, kind, f"identity of {name}", results, name, ran=False))
    scored = scoring.record(files, videos, {"ope": scoring.score(files, videos)})
    command = f"spcnet bench accuracy OTB --tracker '{EVIL}' -o results"
    accuracy = {
        "machine": {"processor": EVIL, "cores": 2},
        "command": command,
        "suite": None,
        "jobs": 2,
        **scored,
        "attributes": {"IV": 5, "SV": 3, "OCC": 2, "LR": 1},
    }
    for name, (_, _, ms) in trackers.items():
        own = accuracy["trackers"][name]
        auc = own["mean"]["auc"]
        by_attribute = {"IV": auc, "SV": auc / 2, "OCC": auc, "LR": 0.1}
        others = {"tre": {"auc": 0.9 * auc}, "sre": {"auc": 0.8 * auc}}
        own |= {"mean_ms": 1.1 * ms, "auc_by_attribute": by_attribute, **others}
    speed = {
        "machine": accuracy["machine"],
        "command": "spcnet bench speed -o results",
        "conditions": {"before": {"load": 0.5}, "after": {"load": None}, "mhz": [3000.0] * 9},
        "frames": 60,
        "size": [64, 48],
        "warnings": [f"{EVIL} is loaded"],
        "trackers": {
            name: {
                "kind": kind,
                "identity": f"identity of {name}",
                "load_ms": 3.0,
                "memory": {"rss_mb": 50.0, "device_mb": None},
                "threads": {"1": times(rng, ms), "2": times(rng, ms / 2)},
                "targets": {str(n): {"frame_ms": summary([ms * n**0.9])} for n in (1, 4, 16)},
            }
            for name, (kind, _, ms) in trackers.items()
        },
    }
    stages = dict.fromkeys(STAGES, StageWork((Work(int(1e6), int(2e6)),), calls=3))
    half = dict.fromkeys([*STAGES, "total"], 5e-4)
    cost = costs.ModelCost(stages, stages, UpdateTimes(half, half, 0.5))
    roofline = {
        "machine": {"processor": "another"},
        "command": "spcnet bench roofline -o results",
        "peaks": {"gemm_gflops": 100.0, "spread": {"gemm_gflops": 0.1}},
        "warnings": [],
        "models": costs.models(dict.fromkeys(list(trackers)[:2], cost), Roof(1e11, ((1.0, 1e10),))),
    }
    status = np.array(["TRACKING", "LOST", "UNCERTAIN"])
    trace = measures.Trace(np.array([0.8, 0.1, 0.1]), np.array([0.5, 0.1, 0.2]), np.full(3, 9.0), status)
    removed = measures.removal_summary([Removal(0.8, status[[1] * GONE], 1.0, 4.0, 7.0)])
    once = measures.summary({EVIL: trace}, TrackerConfig())
    confidence = {
        "model": {"name": EVIL},
        "config": {"lost_score": 0.1, "uncertain_score": 0.2},
        "ways": {"recovery off": {"one_pass": once, "removed": removed}},
    }
    records = {"accuracy": accuracy, "speed": speed, "roofline": roofline, "confidence": confidence}
    for name, record in records.items():
        (results / f"{name}.json").write_text(json.dumps(valid(record)))
    return data, results


TRACKERS = {"good": ("ours", 0.05, 2.0), EVIL: ("ours", 0.1, 0.5), "poor": ("peer", 8.0, 20.0)}
SEQUENCES = ("Dog", "Deer", "Man", "Mine", "Surfer", EVIL)
