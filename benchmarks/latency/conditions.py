"""The conditions of a measurement: clocks, temperatures, load, throttling.

psutil and NVML say most of it. The readers of what no library knows take the root of the file system, and
give None for what cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil

from spcnet.benchmarks.latency import nvml, power
from spcnet.benchmarks.latency.sysfs import number, text

Value = TypeVar("Value")
ROOT = Path("/")
CPU = "sys/devices/system/cpu"
GPU_CLOCKS = ("gpu", "gp10b", "gv11b", "ga10b", "gb10b")  # how Jetson's devfreq folders end


def conditions(root: Path = ROOT) -> dict[str, Any]:
    """The settings and the state of the machine now."""
    sensors = _known(psutil.sensors_temperatures) or {}
    degrees = {f"{chip} {s.label}".strip(): s.current for chip, found in sensors.items() for s in found}
    return {
        "board": text(root / "proc/device-tree/model"),
        "cpu": cpu(root),
        "load": _known(lambda: list(psutil.getloadavg())),
        "temperature_c": degrees or None,
        "rails_w": power.rails(root) or None,
        "jetson": jetson(root),
        "gpus": nvml.gpus(),
        "times": cpu_times(),
    }


def cpu(root: Path = ROOT) -> dict[str, Any]:
    """The processor: governors, MHz, and how often heat or power, and its quota, have stopped it so far."""
    governors = {g for c in _cpus(root) if (g := text(c / "cpufreq/scaling_governor"))}
    found = [
        number(c / f"thermal_throttle/{kind}_throttle_count")
        for c in _cpus(root)
        for kind in ("core", "package")
    ]
    counts = [v for v in found if v is not None]
    return {
        "governors": sorted(governors) or None,
        "mhz": cpu_mhz() or None,
        "throttled": sum(counts) if counts else None,
        "quota_throttled": quota_throttled(root),
    }


def cpu_mhz() -> list[float]:
    """The clock of every CPU now, MHz; [] where it is not known."""
    return [frequency.current for frequency in _known(lambda: psutil.cpu_freq(percpu=True)) or ()]


def quota_throttled(root: Path = ROOT) -> float | None:
    """How often the quota has stopped this process's control groups."""
    found = (
        re.search(r"^nr_throttled (\d+)", text(g / "cpu.stat") or "", re.MULTILINE) for g in _groups(root)
    )
    counts = [float(match[1]) for match in found if match]
    return sum(counts) if counts else None


def jetson(root: Path = ROOT) -> dict[str, Any] | None:
    """Power mode, GPU clocks, and whether jetson_clocks holds the clocks; None elsewhere."""
    release = text(root / "etc/nv_tegra_release")
    if release is None:
        return None
    mode = re.search(r"pmode:(\d+)", text(root / "var/lib/nvpmodel/status") or "")
    names = dict(re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", text(root / "etc/nvpmodel.conf") or ""))
    gpu = next(
        (d for d in sorted((root / "sys/class/devfreq").glob("*")) if d.name.endswith(GPU_CLOCKS)), None
    )
    clocks = {
        f"gpu_{kind}_mhz": number(gpu / f"{kind}_freq", 1e6) if gpu else None
        for kind in ("cur", "min", "max")
    }
    limits = [
        (number(c / "cpufreq/scaling_min_freq"), number(c / "cpufreq/scaling_max_freq")) for c in _cpus(root)
    ]
    limits.append((clocks["gpu_min_mhz"], clocks["gpu_max_mhz"]))
    return {
        "release": release.splitlines()[0],
        "power_mode": names.get(str(int(mode[1])), mode[1]) if mode else None,
        **clocks,
        "clocks_held": None if any(None in pair for pair in limits) else all(a == b for a, b in limits),
    }


def cpu_times() -> dict[str, float]:
    """Seconds of all CPUs since the start: total, busy, stolen by the host; and own, of this process's."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    total = sum(times[:8])  # without guest times, which user and nice include
    busy = total - times.idle - times.iowait - times.steal
    return {"total": total, "busy": busy, "stolen": times.steal, "own": sum(own[:4])}


def shares(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float] | None:
    """The share of all CPUs' time between two cpu_times that other processes used, and that was stolen.

    The time of children that have ended counts as own. None if no time has passed.
    """
    if after["total"] <= before["total"]:
        return None
    spent = {name: after[name] - before[name] for name in after}
    others = max(0.0, spent["busy"] - spent["own"]) / spent["total"]
    return {"others": others, "stolen": max(0.0, spent["stolen"]) / spent["total"]}


def _known(ask: Callable[[], Value]) -> Value | None:
    """The answer of psutil; None where the system lacks it."""
    try:
        return ask()
    except (AttributeError, NotImplementedError, OSError):
        return None


def _cpus(root: Path) -> list[Path]:
    found = [p for p in (root / CPU).glob("cpu[0-9]*") if p.name[3:].isdecimal()]
    return sorted(found, key=lambda p: int(p.name[3:]))


def _groups(root: Path) -> list[Path]:
    """The control groups of this process that may limit its CPU time, up to the top one, versions 2 and 1."""
    found: list[Path] = []
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        home = root / "sys/fs/cgroup"
        if "cpu" in controllers.split(","):
            home /= controllers if (home / controllers).is_dir() else "cpu"
        elif controllers:
            continue
        here = home / path.lstrip("/")
        # In a container the path may be the host's, of which only the top is visible.
        found += [p for p in (here, *here.parents) if p == home or home in p.parents]
    return [p for p in dict.fromkeys(found) if p.is_dir()]
