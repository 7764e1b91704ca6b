"""Every kernel must fit every target, by its machine code. The table is printed at the end."""

import re

import pytest

from spcnet.benchmarks.gpu import sass

TARGETS = (87, 120)  # Orin and Blackwell; the others are built by the test of the bundle
SHARED = 48 << 10  # bytes a block may have on every target without asking


@pytest.mark.parametrize("number", TARGETS)
def test_every_kernel_fits(number, record_property):
    report = sass.kernels(number)
    for name, code in report.items():
        used = (code.registers, code.shared, code.spills)
        record_property("kernel_resources", (number, name, "/".join(map(str, used))))
    assert {re.sub(r"(_\d+)+$", "", name) for name in report} == set(sass.THREADS)
    for name, code in report.items():
        threads = sass.threads(name)
        assert code.shared <= SHARED, name
        assert 0 < code.registers * threads * 2 <= sass.REGISTERS, (
            name
        )  # two blocks at a time, to hide latency
        assert code.spills == 0, name
        assert 0 < sass.occupancy(number, threads, code) <= 1, name
    assert report["locate"].read_only == report["regress"].read_only == 0
    assert report["conv_next_1_8"].loop["HMMA"] and report["rows_dft"].loop["FFMA"]
