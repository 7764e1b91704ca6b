"""Every kernel must fit every target, by the report of ptxas. The table is printed at the end."""

import re
from typing import NamedTuple

import pytest
from needs import needs

from spcnet.runtime.cuda import compiler

THREADS = {  # of a block, as launch.py and backbone.py launch them
    "crop": 256, "conv": 256, "conv_by": 256, "conv_first": 128, "conv_next": 128, "conv_half_first": 128,
    "conv_half_next": 128, "rows_dft": 128, "rows_fft": 128, "respond_dft": 64, "respond_fft": 256,
    "colour_respond": 128, "colour_learn": 512, "invert": 128, "peak": 128, "learn_dft": 64, "learn_fft": 256,
    "regress_keep": 256, "regress_pair": 256, "regress_box": 512,
}  # fmt: skip
TARGETS = (75, 87, 120)  # Turing, Orin and Blackwell; the others are built by the test of the bundle
SHARED = 48 << 10  # bytes a block may have on every target without asking
REGISTERS = 64 << 10  # of a multiprocessor, of every target


class Resources(NamedTuple):
    registers: int  # a thread
    shared: int  # static bytes a block
    spilled: int  # bytes a thread, stored and loaded


def resources(log):
    """Kernel -> Resources by the output of ptxas -v, without the functions that kernels call."""
    found, entry, function, spilled = {}, "", "", 0
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(.+?)'", line):
            entry = function = match[1]
        elif match := re.search(r"Function properties for '?([^'\s]+)", line):
            function = match[1]
        elif function == entry and "stack frame" in line:
            spilled = sum(int(value) for value in re.findall(r"(\d+) bytes spill", line))
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            found[entry] = Resources(int(match[1]), int(shared[1]) if shared else 0, spilled)
    return found


@pytest.mark.parametrize("number", TARGETS)
def test_every_kernel_fits(number, record_property):
    nvcc = [c for c in compiler.find_compilers() if c.name == "nvcc" and number in c.targets]
    needs(nvcc, f"an nvcc that knows sm_{number}")
    report = resources(nvcc[0].run(compiler.source(), f"sm_{number}", "-Xptxas", "-v")[1])
    for name, used in report.items():
        record_property("kernel_resources", (number, name, "/".join(map(str, used))))
    assert {re.sub(r"(_\d+)+$", "", name) for name in report} == set(THREADS)
    for name, used in report.items():
        threads = THREADS[re.sub(r"(_\d+)+$", "", name)]
        assert used.shared <= SHARED, name
        assert 0 < used.registers * threads * 2 <= REGISTERS, name  # two blocks at a time, to hide latency
        assert used.spilled == 0, name
