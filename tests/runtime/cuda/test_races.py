"""Every kernel under ThreadSanitizer: no two threads touch a word without a barrier between them."""

import subprocess
import sys
from pathlib import Path

import pytest

from spcnet.runtime.cuda.compiler import KERNELS

WATCHED = Path(__file__).parents[2] / "emulator" / "watched.py"
RACE = 66  # the exit status of ThreadSanitizer


def watch(*planted):
    return subprocess.run([sys.executable, WATCHED, *planted], capture_output=True, text=True, check=False)


def test_no_kernel_has_a_race():
    done = watch()
    assert done.returncode == 0, done.stderr[-3000:]
    names = {"learn_fft_32", "respond_dft", "regress", "conv_half_next_1_8", "crop", "locate"}
    assert names <= {*done.stdout.split()}


@pytest.mark.parametrize(
    ("file", "what", "racing"),
    [
        ("columns.cuh", "__syncthreads", "columns.cuh"),
        ("common.cuh", "__threadfence(); // the writes", "peak.cuh"),
    ],
)
def test_a_missing_barrier_or_fence_is_found(file, what, racing):
    lines = (KERNELS / file).read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if what in text)
    done = watch(file, str(line))
    assert done.returncode == RACE and "data race" in done.stderr and racing in done.stderr
