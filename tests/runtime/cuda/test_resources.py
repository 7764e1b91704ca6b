"""Every kernel must fit every target, by the report of ptxas. The table is printed at the end."""

import re

import pytest
from needs import needs

from spcnet.runtime.cuda import compiler, images

THREADS = {  # of a block, as launch.py and backbone.py launch them
    "crop": 256, "conv": 256, "conv_by": 256, "conv_first": 128,
    "conv_next": 128, "conv_half_first": 128, "conv_half_next": 128,
    "rows_dft": 128, "rows_fft": 128, "respond_dft": 64,
    "respond_fft": 256, "invert": 128, "peak": 128, "learn_dft": 64,
    "learn_fft": 256,
}  # fmt: skip
SHARED = 48 << 10  # bytes a block may have on every target without asking
REGISTERS = 64 << 10  # of a multiprocessor, of every target


@pytest.mark.parametrize("number", images.DEFAULT_TARGETS)
def test_every_kernel_fits(number, kernel_resources):
    found = [c for c in compiler.find_compilers() if c.name == "nvcc" and f"{number}" in map(str, c.targets)]
    needs(found, f"an nvcc that knows sm_{number}")
    report = compiler.report(f"sm_{number}")
    kernel_resources[number] = report
    assert {re.sub(r"(_\d+)+$", "", name) for name in report} == set(THREADS)
    for name, used in report.items():
        threads = THREADS[re.sub(r"(_\d+)+$", "", name)]
        assert used.shared <= SHARED, name
        assert used.registers * threads * 2 <= REGISTERS, name  # two blocks at a time, to hide latency
        assert used.spill_stores + used.spill_loads == 0, name
