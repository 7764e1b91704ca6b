"""Power and energy: the rails of a Jetson (INA3221), the counters of an x86 processor (RAPL)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spcnet.benchmarks.latency.sysfs import number, text

TOTAL = "VDD_IN"  # the rail of a Jetson that feeds all others, where there is one


def rails(root: Path) -> dict[str, float]:
    """INA3221 rail -> watts now: volts times amperes; {} where there is none."""
    found: dict[str, float] = {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text(chip / "name") != "ina3221":
            continue
        for channel in (1, 2, 3):
            volts = number(chip / f"in{channel}_input", 1e3)
            amperes = number(chip / f"curr{channel}_input", 1e3)
            if volts is not None and amperes is not None:
                found[text(chip / f"in{channel}_label") or f"{chip.name} {channel}"] = volts * amperes
    return found


def watts(found: Mapping[str, float]) -> tuple[float, str] | None:
    """The board's power by its rails, and its source: VDD_IN, or else the sum of all; None without rails."""
    if not found:
        return None
    return (found[TOTAL], TOTAL) if TOTAL in found else (sum(found.values()), "sum of " + ", ".join(found))


def counters(root: Path) -> dict[str, tuple[float, float]]:
    """RAPL package -> joules so far, and the joules at which its counter wraps; {} where it cannot be read.

    Since 2020 Linux lets only root read them.
    """
    found = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name = text(zone / "name") or ""
        spent, limit = (number(zone / f"{f}_uj", 1e6) for f in ("energy", "max_energy_range"))
        if name.startswith("package") and spent is not None and limit is not None:
            found[name] = spent, limit
    return found


def joules(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]
) -> float | None:
    """The energy between two readings; counters may wrap once. None without a common counter."""
    shared = before.keys() & after.keys()
    if not shared:
        return None
    spent = ((after[name][0] - before[name][0], after[name][1]) for name in shared)
    return sum(joule + limit if joule < 0 else joule for joule, limit in spent)
