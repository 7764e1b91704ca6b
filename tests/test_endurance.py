"""Short forms of soak.py and kills.py."""

import kills
import pytest
import soak

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("backend", ["cpu", "native"])
def test_a_short_soak(backend):
    found = soak.soak(1500, "nano", backend, period=120)
    assert found["wild boxes"] == 0
    for figure, most in (("RSS in KiB", 1 << 11), ("open files", 0)):
        early, late = found[f"{figure} after the first tenth and at the end"]
        assert late - early <= most, figure


def test_kills_of_a_run(capsys):
    assert kills.main(3, ["track"]) == []
    assert "killed 3 times" in capsys.readouterr().out
