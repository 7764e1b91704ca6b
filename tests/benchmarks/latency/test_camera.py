import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spcnet.benchmarks.latency.camera import dropped


@pytest.mark.parametrize(
    ("seconds", "lost"),
    (
        # Frame 0 is tracked to 0.25; 1 waits, 2 is lost; 1 to 0.50; 3 waits, 4 is lost; 3 to 0.75; 5 waits, 6
        # and 7 are lost; 5 is the last time.
        ([0.25] * 4, 4 / 8),
        ([0.05] * 50, 0.0),  # faster than the camera
        ([0.1] * 50, 0.0),  # just as fast: free as the frame arrives
        ([0.19, 0.01] * 20, 0.0),  # one may wait
        ([0.35, 0.01, 0.01, 0.01], 2 / 6),  # 1 waits, 2 and 3 are lost, 4 and 5 find the tracker free
        ([], 0.0),
    ),
)
def test_by_hand_at_ten_frames_a_second(seconds, lost):
    assert dropped(seconds, 10) == lost


@given(st.lists(st.integers(1, 400), min_size=1, max_size=25), st.sampled_from((10, 30, 60, 100)))
@settings(max_examples=40, deadline=None)
def test_against_a_clock_of_small_steps(milliseconds, rate):
    """A machine that looks at camera and tracker at each step, with time in whole parts of a second."""
    step = 3000  # a second: divisible by 10, 30, 60, 100 and 1000
    due, busy, waits, arrived, lost, now, just_free = list(milliseconds), 0, False, 0, 0, 0, False
    while due:
        arrives = now % (step // rate) == 0
        assume(not (arrives and just_free))  # to the last bit of a float
        if busy == 0 and waits:
            busy, waits = due.pop(0) * 3, False
        if due and arrives:
            arrived += 1
            if busy == 0:
                busy = due.pop(0) * 3
            elif waits:
                lost += 1
            else:
                waits = True
        now += 1
        just_free = busy == 1
        busy = max(0, busy - 1)
    assert dropped([m / 1000 for m in milliseconds], rate) == pytest.approx(lost / arrived, abs=1e-9)


def test_a_camera_without_a_rate_is_refused():
    for rate in (0, -5, float("nan")):
        with pytest.raises(ValueError, match="give one above 0"):
            dropped([0.1], rate)
