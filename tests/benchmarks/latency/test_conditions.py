import time

import pytest
from trees import write

from spcnet.benchmarks.latency import conditions


def cpus(count, **files):
    """cpu0, cpu1, ...: file in cpufreq -> kHz or word."""
    home = "sys/devices/system/cpu"
    return {f"{home}/cpu{i}/cpufreq/{name}": value for i in range(count) for name, value in files.items()}


@pytest.fixture
def orin(tmp_path):
    """A Jetson Orin Nano as L4T 36 shows it."""
    gpu, hwmon = "sys/class/devfreq/17000000.gpu", "sys/class/hwmon/hwmon1"
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# more",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
        "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet",
        f"{gpu}/cur_freq": 612000000,
        f"{gpu}/min_freq": 306000000,
        f"{gpu}/max_freq": 1020000000,
        "sys/class/devfreq/15480000.nvdec/cur_freq": 1,
        f"{hwmon}/name": "ina3221",
        f"{hwmon}/in1_label": "VDD_IN",
        f"{hwmon}/in1_input": 4984,
        f"{hwmon}/curr1_input": 1000,
    }
    clocks = cpus(6, scaling_governor="schedutil", scaling_min_freq=729600, scaling_max_freq=1510400)
    write(tmp_path, files | clocks)
    return tmp_path


def test_a_jetson(orin):
    found = conditions.conditions(orin)
    assert found["board"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found["cpu"]["governors"] == ["schedutil"]
    assert found["rails_w"] == pytest.approx({"VDD_IN": 4.984})
    assert found["jetson"] == {
        "release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
        "power_mode": "MAXN_SUPER",
        "gpu_cur_mhz": 612.0,
        "gpu_min_mhz": 306.0,
        "gpu_max_mhz": 1020.0,
        "clocks_held": False,
    }


def test_jetson_clocks_hold_all_limits_together(orin):
    write(orin, cpus(6, scaling_min_freq=1510400))
    assert conditions.jetson(orin)["clocks_held"] is False  # the GPU's are apart
    write(orin, {"sys/class/devfreq/17000000.gpu/min_freq": 1020000000})
    assert conditions.jetson(orin)["clocks_held"] is True
    (orin / "etc/nvpmodel.conf").unlink()
    assert conditions.jetson(orin)["power_mode"] == "0002"


def test_a_desktop_and_an_empty_container(tmp_path):
    found = conditions.conditions(tmp_path)
    assert not any(value for name, value in found.pop("cpu").items() if name != "mhz")
    assert {found[name] for name in ("board", "rails_w", "jetson")} == {None}
    home = "sys/devices/system/cpu"
    counts = (("cpu0", "core", 3), ("cpu1", "core", 4), ("cpu1", "package", 5))
    write(tmp_path, cpus(3, scaling_governor="performance"))
    write(tmp_path, cpus(1, scaling_governor="powersave"))
    write(tmp_path, {f"{home}/{c}/thermal_throttle/{kind}_throttle_count": n for c, kind, n in counts})
    found = conditions.cpu(tmp_path)
    assert (found["governors"], found["throttled"]) == (["performance", "powersave"], 12)


@pytest.mark.parametrize(
    ("groups", "stats", "throttled"),
    (
        ("0::/a/b", {"a/b": 2, "a": 7}, 9),
        ("0::/", {".": 3}, 3),  # in a container
        ("0::/hosts/path", {".": 4}, 4),
        ("4:memory:/x\n1:cpu,cpuacct:/x\n0::/", {"cpu,cpuacct/x": 5, "memory/x": 9}, 5),
        ("1:cpu:/", {"cpu": 6}, 6),
        ("0::/a", {}, None),
    ),
)
def test_the_quota_of_control_groups(tmp_path, groups, stats, throttled):
    write(tmp_path, {"proc/self/cgroup": groups})
    for group, count in stats.items():
        write(
            tmp_path,
            {f"sys/fs/cgroup/{group}/cpu.stat": f"usage_usec 1\nnr_throttled {count}\nthrottled_usec 9"},
        )
    assert conditions.quota_throttled(tmp_path) == throttled


def test_shares_of_other_processes():
    before = {"total": 100.0, "busy": 40.0, "stolen": 1.0, "own": 10.0}
    after = {"total": 120.0, "busy": 55.0, "stolen": 2.0, "own": 22.0}
    assert conditions.shares(before, after) == pytest.approx({"others": 3 / 20, "stolen": 1 / 20})
    assert conditions.shares(before, {**after, "own": 40.0})["others"] == 0.0  # clocks of two counters
    assert conditions.shares(before, before) is None


def test_the_sensors_of_this_very_machine():
    before = conditions.conditions()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = conditions.conditions()
    spent = {name: after["times"][name] - before["times"][name] for name in after["times"]}
    assert spent["own"] >= 0.25 and spent["busy"] >= 0.2
    # The clock of the times ticks every .01 s, and idle times may go back by a tick.
    assert spent["busy"] + spent["stolen"] <= spent["total"] + 0.05
    assert 0 <= conditions.shares(before["times"], after["times"])["others"] <= 1
    assert len(after["load"]) == 3 and after["cpu"]["mhz"] == pytest.approx(before["cpu"]["mhz"], rel=0.9)
