"""The conditions a measurement was taken in: clocks, temperature, load, throttling. All readers take the root of
the file system, and give None for what cannot be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcnet.benchmarks.latency import nvml, power
from spcnet.benchmarks.latency.sysfs import number, text

ROOT = Path("/")
CPU = "sys/devices/system/cpu"
TICKS = os.sysconf("SC_CLK_TCK")  # of /proc/stat, a second
GPU_CLOCKS = ("gpu", "gp10b", "gv11b", "ga10b", "gb10b")  # how Jetson's devfreq folders end


def conditions(root: Path = ROOT) -> dict[str, Any]:
    """What the machine is set to and doing now."""
    return {
        "board": text(root / "proc/device-tree/model"),
        "cpu": cpu(root),
        "load": load(root),
        "temperature_c": temperatures(root),
        "rails_w": power.rails(root) or None,
        "jetson": jetson(root),
        "gpus": nvml.gpus() if root == ROOT else [],
        "times": cpu_times(root),
    }


def cpu(root: Path = ROOT) -> dict[str, Any]:
    """How the processor is set: governors, MHz, turbo, SMT, NUMA nodes, quota (in CPUs), throttling so far."""
    cpus = _cpus(root)
    clocks = cpu_mhz(root)
    lowest = [v for c in cpus if (v := number(c / "cpufreq/cpuinfo_min_freq", 1e3)) is not None]
    highest = [v for c in cpus if (v := number(c / "cpufreq/cpuinfo_max_freq", 1e3)) is not None]
    governors = {g for c in cpus if (g := text(c / "cpufreq/scaling_governor"))}
    counts = [
        v
        for c in cpus
        for kind in ("core", "package")
        if (v := number(c / f"thermal_throttle/{kind}_throttle_count")) is not None
    ]
    nodes = list((root / "sys/devices/system/node").glob("node[0-9]*"))
    smt = number(root / CPU / "smt/active")
    return {
        "governors": sorted(governors) or None,
        "mhz": clocks or None,
        "min_mhz": min(lowest, default=None),
        "max_mhz": max(highest, default=None),
        "turbo": turbo(root),
        "smt": None if smt is None else bool(smt),
        "numa_nodes": len(nodes) or None,
        "quota": quota(root),
        "throttled": sum(counts) if counts else None,
        "quota_throttled": quota_throttled(root),
    }


def cpu_mhz(root: Path = ROOT) -> list[float]:
    """The clock of every CPU now, MHz; by /proc/cpuinfo, as in virtual machines, where sysfs has none."""
    clocks = [v for c in _cpus(root) if (v := number(c / "cpufreq/scaling_cur_freq", 1e3)) is not None]
    if clocks:
        return clocks
    return [
        float(v)
        for v in re.findall(r"^cpu MHz\s*: ([\d.]+)", text(root / "proc/cpuinfo") or "", re.MULTILINE)
    ]


def turbo(root: Path = ROOT) -> bool | None:
    """Whether clocks above the nominal one are allowed."""
    off = number(root / CPU / "intel_pstate/no_turbo")
    on = number(root / CPU / "cpufreq/boost")
    return not off if off is not None else bool(on) if on is not None else None


def quota(root: Path = ROOT) -> float | None:
    """How many CPUs the control groups of this process allow it; None without a limit."""
    limits = []
    for group in _groups(root):
        words = (text(group / "cpu.max") or "").split()  # version 2: quota and period, in microseconds
        if len(words) != 2:
            words = [text(group / f"cpu.cfs_{kind}_us") or "" for kind in ("quota", "period")]
        if words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
            limits.append(int(words[0]) / int(words[1]))
    return min(limits, default=None)


def quota_throttled(root: Path = ROOT) -> float | None:
    """How often the quota has stopped this process's control groups."""
    found = (
        re.search(r"^nr_throttled (\d+)", text(g / "cpu.stat") or "", re.MULTILINE) for g in _groups(root)
    )
    counts = [float(match[1]) for match in found if match]
    return sum(counts) if counts else None


def load(root: Path = ROOT) -> list[float] | None:
    """Processes that ran or waited to, the mean of 1, 5 and 15 minutes."""
    words = (text(root / "proc/loadavg") or "").split()[:3]
    return [float(word) for word in words] or None


def temperatures(root: Path = ROOT) -> dict[str, float] | None:
    """Thermal zone -> degrees C. A zone that is switched off, as some of a Jetson's, is left out."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    found = {text(zone / "type") or zone.name: number(zone / "temp", 1e3) for zone in zones}
    return {name: value for name, value in found.items() if value is not None} or None


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


def cpu_times(root: Path = ROOT) -> dict[str, float] | None:
    """Seconds of all CPUs since the start, by /proc/stat: total, busy, stolen; and own, of this process's."""
    words = (text(root / "proc/stat") or "").split("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    user, nice, system, idle, wait, irq, soft, stolen = (int(word) / TICKS for word in words[1:9])
    busy = user + nice + system + irq + soft
    own = os.times()
    mine = own.user + own.system + own.children_user + own.children_system
    return {"total": busy + idle + wait + stolen, "busy": busy, "stolen": stolen, "own": mine}


def shares(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> dict[str, float] | None:
    """Between two cpu_times: the share of all CPUs' time that other processes used, and that was stolen.

    Own time counts with processes that were begun here and have ended.
    """
    if not before or not after or after["total"] <= before["total"]:
        return None
    spent = {name: after[name] - before[name] for name in after}
    others = max(0.0, spent["busy"] - spent["own"]) / spent["total"]
    return {"others": others, "stolen": max(0.0, spent["stolen"]) / spent["total"]}


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
        # In a container the path may be the host's, of which only the top is to be seen.
        found += [p for p in (here, *here.parents) if p == home or home in p.parents]
    return [p for p in dict.fromkeys(found) if p.is_dir()]
