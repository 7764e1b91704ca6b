"""Reasons not to trust a measurement: sentences with the value found and what to do, as trtexec gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spcnet.benchmarks.latency.samples import course, enough

OTHERS = 0.05  # share of all CPUs' time that other processes may use
STOLEN = 0.01  # share of all CPUs' time that the host of a virtual machine may take
CLOCK = 0.05  # largest relative change of a clock
UNSTEADY = 0.10  # largest difference between the slowest and fastest tenth of the passes through the clip
BOUND = 0.8  # share of launches in what follows the upload; as trtexec has it
STEPS = 100  # of the clock in a frame, at least


def record_warnings(record: Mapping[str, Any]) -> list[str]:
    """The warnings of a record of bench speed; one sentence names all trackers that it is about."""
    period, step = record["clip"]["frames"] - 1, record["conditions"]["clock_step_ms"]
    about: dict[str, list[str]] = {}  # a sentence -> whom it is about
    for name, tracker in record["trackers"].items():
        for threads, times in tracker["threads"].items():
            who = f"{name} with {threads} thread(s)" if len(tracker["threads"]) > 1 else name
            for what in time_warnings(times, period, step):
                about.setdefault(what, []).append(who)
    return machine_warnings(record["conditions"]) + [
        f"{', '.join(who)}: {what}" for what, who in about.items()
    ]


def machine_warnings(found: Mapping[str, Any]) -> list[str]:
    """Load, clocks and throttling, by the conditions before, after and during the runs."""
    before, after, words = found["before"], found["after"], []
    shares = found["shares"]
    if shares and shares["others"] > OTHERS:
        words.append(
            f"other processes used {shares['others']:.0%} of the CPUs while this was measured (more than "
            f"{OTHERS:.0%}); stop them and measure again"
        )
    if shares and shares["stolen"] > STOLEN:
        words.append(
            f"the host took {shares['stolen']:.1%} of this virtual machine's time (more than {STOLEN:.0%}); "
            "measure on a machine of your own"
        )
    governors = [g for g in before["cpu"]["governors"] or [] if g != "performance"]
    if governors:
        words.append(
            f"the CPU governor is {', '.join(governors)}, so the clock follows the load; set it to "
            "performance (cpupower frequency-set -g performance; jetson_clocks on a Jetson)"
        )
    clocks = found["mhz"]
    if clocks and max(clocks) - min(clocks) > CLOCK * max(clocks):
        words.append(
            f"the CPU clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz while this was "
            "measured; lock it, or let the machine cool"
        )
    for key, what in (("throttled", "heat or power"), ("quota_throttled", "its CPU quota")):
        old, new = before["cpu"][key], after["cpu"][key]
        if old is not None and new is not None and new > old:
            words.append(
                f"the processor was slowed down by {what} {new - old:.0f} times; "
                + ("cool it and measure again" if key == "throttled" else "raise the container's quota")
            )
    jetson = before["jetson"]
    if jetson and jetson["clocks_held"] is False:
        words.append("the Jetson's clocks follow the load; run jetson_clocks before you measure")
    for gpu in after["gpus"]:
        if gpu["throttled"]:
            words.append(
                f"{gpu['name']} is slowed down by {', '.join(gpu['throttled'])}; cool it, or raise its limit"
            )
    for old, new in zip(before["gpus"], after["gpus"], strict=False):
        if old["sm_mhz"] and new["sm_mhz"] and abs(new["sm_mhz"] - old["sm_mhz"]) > CLOCK * new["sm_mhz"]:
            words.append(
                f"the clock of {new['name']} went from {old['sm_mhz']} to {new['sm_mhz']} MHz; "
                "lock it (nvidia-smi --lock-gpu-clocks)"
            )
    return words


def time_warnings(times: Mapping[str, Any], period: int, clock_step_ms: float) -> list[str]:
    """Spread, number of samples, and what bounds a GPU, by the times of one tracker."""
    words, typical, count = [], times["frame_ms"]["median"], len(times["samples_ms"])
    if times["unsettled"]:
        words.append(
            f"the warm-up of {times['unsettled']} of {len(times['runs'])} runs ended while times still "
            "moved by more than 5 %; the machine is not steady: stop what else runs"
        )
    passes = course(times["samples_ms"], times["runs"], period)
    if len(passes) > 1:
        low, high = np.percentile(passes, (10, 90)).tolist()
        if high - low > UNSTEADY:
            words.append(
                f"the same frames took between {low:.2f} and {high:.2f} of their typical time from one pass "
                "through the clip to the next; compare by ratios to the calibration kernel, or on a "
                "quieter machine"
            )
    if not enough(count, 99):
        words.append(f"{count} frames are too few for p99, which needs 100; give --frames 1000")
    elif not enough(count, 99.9):
        words.append(f"{count} frames are too few for p99.9, which needs 1000; give --frames 1000")
    if clock_step_ms * STEPS > typical:
        words.append(
            f"a frame of {typical:.4f} ms is less than {STEPS} steps of the clock ({clock_step_ms:.4f} ms); "
            "times are coarse"
        )
    return words + bound({name: stage["median"] for name, stage in times["stage_ms"].items()})


def bound(stages: Mapping[str, float]) -> list[str]:
    """Whether a GPU waits for the host, by the ms of the CUDA backend's stages upload, enqueue and wait."""
    if not {"upload", "enqueue", "wait"} <= stages.keys():
        return []
    upload, enqueue, wait = (stages[name] for name in ("upload", "enqueue", "wait"))
    if upload > enqueue + wait:
        sentence = (
            f"copy-bound: the upload takes {upload:.3f} ms, launches and kernels {enqueue + wait:.3f} ms; "
            "give frames in device memory, or overlap them by submit() and result()"
        )
        return [sentence]
    if enqueue > BOUND * (enqueue + wait):
        sentence = (
            f"launch-bound: {enqueue:.3f} of {enqueue + wait:.3f} ms are spent launching; let CUDA graphs "
            "record the frame, or track more targets in a batch"
        )
        return [sentence]
    return []
