"""The region of a frame that an update may read, against random motion."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from spcnet.runtime import TrackerConfig
from spcnet.runtime.cuda.region import Place, Reach
from spcnet.runtime.geometry import State, scale_exponents
from spcnet.runtime.locate import Peak
from spcnet.runtime.recovery import TargetState
from spcnet.runtime.regression import corrected

share = st.floats(-1, 1)


def samples(place, side, config, scales, length):
    """The first and last pixel that the largest patch reads along an axis, border pixels repeated."""
    exponent = max(scale_exponents(scales))
    half = side * (1 + config.padding) * config.scale_step**exponent / 2
    ends = np.floor((place - half, place + half + 1))
    return np.clip(ends, 0, length - 1)


@given(
    moves=st.lists(st.tuples(share, share, share, st.sampled_from(["hit", "miss"])), max_size=2),
    misses=st.integers(0, 5),
    radius=st.sampled_from([0.0, 1.0]),
    scales=st.sampled_from([1, 3, 5]),
    frame=st.tuples(st.integers(9, 2000), st.integers(9, 2000)),
    target=st.tuples(*[st.floats(0, 1)] * 4),
    gain=st.sampled_from([0.0, 0.3, 1.0]),
    answer=st.tuples(*[st.floats(-2, 2)] * 4),
)
@example([(1, 1, 1, "hit")] * 2, 0, 1.0, 3, (2000, 2000), (0.3, 0.3, 0.05, 0.05), 1.0, (2, 0, 2, 2))
@example([(1, 1, 1, "hit")], 0, 1.0, 5, (2000, 2000), (0.3, 0.3, 0.1, 0.1), 1.0, (0, 2, 2, 2))
@example([(-1, -1, 1, "hit")] * 2, 0, 0.0, 3, (2000, 2000), (0.7, 0.7, 0.1, 0.1), 1.0, (2, 2, -2, -2))
def test_every_patch_lies_in_the_region(moves, misses, radius, scales, frame, target, gain, answer):
    config = TrackerConfig(
        scales=scales, learn_scales=3, recovery_radius=radius, patch_size=65, box_gain=gain
    )
    height, width = frame
    x, y, w, h = target
    seen = State(x * (width - 1), y * (height - 1), 4 + w * width / 4, 4 + h * height / 4)
    first, state = seen, TargetState(seen, misses if radius else 0, (seen.cx, seen.cy))
    search = state.search_state(frame, config)
    status = "LOST" if state.misses else "TRACKING"
    region = Reach(config).of([Place(*seen, search.cx, search.cy, status)], len(moves), frame)
    step = config.scale_step ** max(scale_exponents(scales))
    for dx, dy, ds, outcome in moves:  # the largest motion: half of the largest patch, half a scale more
        place = state.search_state(frame, config)
        reach = (1 + config.padding) * step / 2
        grown = config.scale_step ** (ds * (max(scale_exponents(scales)) + 0.5))
        found = State(
            min(max(place.cx + dx * reach * place.w, 0), width - 1),
            min(max(place.cy + dy * reach * place.h, 0), height - 1),
            seen.w * grown,
            seen.h * grown,
        )
        if gain and outcome == "hit":
            exponent, half = round(ds * max(scale_exponents(scales))), config.grid // 2
            peak = Peak(exponent, round(dy * half), round(dx * half), 1.0, 9.0)
            found = corrected(found, np.array(answer), place, peak, first, frame, config)
        state, *_ = state.after(found, 1.0 if outcome == "hit" else 0.0, config)
        seen = state.seen
    for place in (state.search_state(frame, config), *([state.seen] if not state.misses else [])):
        for patches in (config.scales, config.learn_scales):
            left, right = samples(place.cx, place.w, config, patches, width)
            top, bottom = samples(place.cy, place.h, config, patches, height)
            assert region.left <= left <= right < region.right <= width
            assert region.top <= top <= bottom < region.bottom <= height
    assert region.left % 2 == region.top % 2 == 0
