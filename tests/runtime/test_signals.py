import os
import signal

import pytest

from spcnet.runtime.signals import STOPS, delayed, like_ctrl_c


@pytest.fixture(autouse=True)
def _usual():
    """The handlers that a program begins with."""
    former = {number: signal.getsignal(number) for number in STOPS}
    for number in STOPS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_what_stops_a_run_is_like_ctrl_c_and_can_be_delayed(number):
    seen = []
    with like_ctrl_c():
        with delayed(lambda *arguments: seen.append(arguments[0])):
            os.kill(os.getpid(), number)
        assert seen == [number]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_signals_that_are_ignored_or_the_applications_stay_so():
    seen = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    signal.signal(signal.SIGTERM, lambda *_: seen.append("application"))
    with like_ctrl_c(), delayed(lambda *_: seen.append("ours")):
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
    assert seen == ["application"]
