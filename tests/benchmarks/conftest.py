"""Fixtures of the benchmarks."""

import pytest
from emulator.host_device import HostDevice
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.gpu.timing import WallTimer


@pytest.fixture
def open_host():
    """Opens emulated devices with a timer each, and says at the end whether each was given back whole."""
    made = []

    def make():
        made.append(HostDevice())
        return made[-1], WallTimer(made[-1])

    HostDevice()  # loads OpenMP, which is to be limited
    with threadpool_limits(1):  # threads that wait for each other 10,000 times are slow on a busy machine
        yield make
    assert made
    assert all(not device.live for device in made)
