"""Made-up results of a whole run: sequences, result files, and the records that the measuring verbs write."""

import json

import numpy as np
import synthetic

from spcnet.common.metrics import measure, precision_curve, score, success_curve
from spcnet.common.suites import open_data

EVIL = "<b>\"x\" & 'y'<i>"
STAGES = ("crop", "features", "dft", "learn")
FRAMES = 24


def times(rng, mean, count=60):
    """The part of speed.json on one tracker with a number of threads."""
    samples = mean * rng.lognormal(0, 0.1, count)
    statistics = zip(("median", "p90", "p99"), np.percentile(samples, (50, 90, 99)).tolist(), strict=True)
    ends = {"mean": samples.mean(), "min": samples.min(), "max": samples.max()}
    return {
        "frame_ms": {**dict(statistics), "p99.9": None, **ends},
        "fps": 1e3 / samples.mean(),
        "jitter_ms": 0.1,
        "dropped": {"30": 0.0, "60": float((samples > 16.7).mean())},
        "stage_ms": {stage: {"mean": mean / 5, "median": mean / 5} for stage in STAGES},
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
    videos = open_data(data)
    accuracy = {
        "machine": {"processor": EVIL, "cores": 2, "spcnet": "0"},
        "command": f"spcnet bench accuracy OTB --tracker '{EVIL}' -o results",
        "sequences": len(videos),
        "frames": FRAMES * len(videos),
        "jobs": 2,
        "attributes": {"IV": 1, "SV": 2, "OCC": 3, "LR": 4},
        "failed": {},
        "trackers": {},
    }
    speed = {
        "machine": {"processor": EVIL, "cores": 2, "spcnet": "0"},
        "command": "spcnet bench speed -o results",
        "conditions": {"before": {"load": [0.5], "cpu": {"mhz": [1.0] * 9}}, "after": {"load": [0.7]}},
        "warnings": [f"{EVIL} is loaded"],
        "frames": 60,
        "size": [320, 240],
        "trackers": {},
    }
    for name, (kind, drift, ms) in trackers.items():
        (results / name).mkdir(parents=True)
        scores, curves = {}, []
        for video in videos:
            steps = np.arange(len(video.boxes))[:, None] * np.array([drift, 0, 0, 0]) * rng.uniform(0.5, 1.5)
            boxes = video.boxes + steps
            np.savetxt(results / name / f"{video.name}.txt", boxes, "%.3f", ",")
            scores[video.name] = score(np.round(boxes, 3), video.boxes)
            overlaps, errors = measure(np.round(boxes, 3), video.boxes)
            curves.append((success_curve(overlaps), precision_curve(errors)))
        mean = np.mean(list(scores.values()), axis=0)
        accuracy["trackers"][name] = {
            "kind": kind,
            "identity": f"identity of {name}",
            "mean": dict(zip(("auc", "op", "dp"), mean.tolist(), strict=True)),
            "ms": ms,
            "mean_ms": ms * 1.1,
            "success": np.mean([one[0] for one in curves], axis=0).tolist(),
            "precision": np.mean([one[1] for one in curves], axis=0).tolist(),
            "auc_by_attribute": {"IV": mean[0], "SV": mean[0] / 2, "OCC": mean[0], "LR": 0.1},
            "by_sequence": {
                video: dict(zip(("auc", "op", "dp"), one, strict=True)) for video, one in scores.items()
            },
            "tre": {"auc": mean[0] * 0.9},
            "sre": {"auc": mean[0] * 0.8},
        }
        speed["trackers"][name] = {
            "kind": kind,
            "identity": f"identity of {name}",
            "load_ms": 3.0,
            "first_frame_ms": 2.0,
            "memory": {"rss_mb": 50.0, "device_mb": None},
            "threads": {"1": times(rng, ms), "2": times(rng, ms / 2)},
            "targets": {str(n): {"frame_ms": {"mean": ms * n**0.9, "median": ms * n}} for n in (1, 4, 16)},
        }
    stage = {"flops": 2e6, "bytes": 1e6, "ms": 0.5, "floor_ms": 0.1, "achieved": 0.2, "bound": "memory"}
    roofline = {
        "machine": {"processor": "another"},
        "command": "spcnet bench roofline -o results",
        "peaks": {"gemm_gflops": 100.0, "spread": {"gemm_gflops": 0.1}},
        "models": {
            name: {"stages": dict.fromkeys(STAGES, stage), "total": stage} for name in list(trackers)[:2]
        },
    }
    calls = {"precision": 0.5, "recall": None}
    once = {"auc": 0.5, "bad": 3, "frames": 99, "roc_area": {"score": 0.9}}
    once |= {"lost": calls, "not_tracking": calls}
    confidence = {
        "model": {"name": EVIL},
        "ways": {"recovery off": {"one_pass": once, "removed": {"counted": 2, "lost": 1, "until_lost": 4.0}}},
    }
    records = {"accuracy": accuracy, "speed": speed, "roofline": roofline, "confidence": confidence}
    for name, record in records.items():
        (results / f"{name}.json").write_text(json.dumps(record))
    return data, results


TRACKERS = {"good": ("ours", 0.05, 2.0), EVIL: ("ours", 0.1, 0.5), "poor": ("peer", 8.0, 20.0)}
SEQUENCES = ("Dog", "Deer", "Man", "Mine", "Surfer", EVIL)
