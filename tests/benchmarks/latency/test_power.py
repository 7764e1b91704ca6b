import pytest
from trees import write

from spcnet.benchmarks.latency import power


def rails(number, labels, milliwatts):
    """An INA3221 of volts 5 and the amperes that make so many mW."""
    home = f"sys/class/hwmon/hwmon{number}"
    files = {f"{home}/name": "ina3221", f"{home}/in7_label": "sum of shunt voltages", f"{home}/in7_input": 9}
    for channel, (label, power_) in enumerate(zip(labels, milliwatts, strict=True), 1):
        files[f"{home}/in{channel}_label"] = label
        files[f"{home}/in{channel}_input"] = 5000
        files[f"{home}/curr{channel}_input"] = power_ // 5
    return files


def test_rails(tmp_path):
    assert power.rails(tmp_path) == {} and power.watts({}) is None
    write(tmp_path, {"sys/class/hwmon/hwmon0/name": "ina3221", "sys/class/hwmon/hwmon0/in1_input": "fast"})
    assert power.rails(tmp_path) == {}
    write(tmp_path, rails(1, ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), (5000, 1500, 1000)))
    found = power.rails(tmp_path)
    assert found == pytest.approx({"VDD_IN": 5.0, "VDD_CPU_GPU_CV": 1.5, "VDD_SOC": 1.0})
    assert power.watts(found) == (5.0, "VDD_IN")  # the others hang on it
    write(tmp_path, rails(1, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), (3000, 1000, 2000)))  # an AGX
    watts, source = power.watts(power.rails(tmp_path))
    assert watts == pytest.approx(6.0) and source == "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"


def rapl(number, name, energy, limit=10_000_000):
    home = f"sys/class/powercap/intel-rapl:{number}"
    return {f"{home}/name": name, f"{home}/energy_uj": energy, f"{home}/max_energy_range_uj": limit}


def test_counters_of_packages_that_begin_anew(tmp_path):
    write(tmp_path, rapl("0", "package-0", 9_000_000) | rapl("1", "package-1", 2_000_000))
    write(tmp_path, rapl("0:0", "core", 1_000_000))  # a part of package-0
    write(tmp_path, {"sys/class/powercap/intel-rapl:2/name": "package-2"})  # only root may read the rest
    before = power.counters(tmp_path)
    assert set(before) == {"package-0", "package-1"}
    write(tmp_path, rapl("0", "package-0", 500_000) | rapl("1", "package-1", 2_250_000))
    assert power.joules(before, power.counters(tmp_path)) == pytest.approx(1.5 + 0.25)
    assert power.joules({}, before) is None and power.joules(before, {}) is None
