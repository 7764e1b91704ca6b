"""Stacks of experiments, as the vot-toolkit calls them: those it brings, by name, and one of ours."""

from __future__ import annotations

BOTH = "vot2015-realtime"
SUPERVISED = (BOTH, "vot2015")  # they begin anew in any frame, so every frame has a box
_EXPERIMENT = """\
    type: supervised
    repetitions: {repetitions}
    skip_initialize: 5
    analyses:
      - type: supervised_average_ar
        name: accuracy and robustness
        sensitivity: 30
      - type: supervised_eao_score
        name: EAO
        low: 108
        high: 371
      - type: supervised_eao_curve
        name: EAO curve
"""
# The experiment of VOT2015 as the toolkit has it, and again in real time in the way of VOT2018: frames come
# at the rate of the sequence, however slow the tracker is, but for three slow answers after each start.
_BOTH = f"""\
title: VOT2015, at the tracker's own pace and in real time
experiments:
  baseline:
{_EXPERIMENT.format(repetitions=15)}\
  realtime:
    realtime:
      grace: 3
{_EXPERIMENT.format(repetitions=1)}"""

_VOT2015 = """
bag ball1 ball2 basketball birds1 birds2 blanket bmx bolt1 bolt2 book butterfly car1 car2 crossing dinosaur
fernando fish1 fish2 fish3 fish4 girl glove godfather graduate gymnastics1 gymnastics2 gymnastics3
gymnastics4 hand handball1 handball2 helicopter iceskater1 iceskater2 leaves marching matrix motocross1
motocross2 nature octopus pedestrian1 pedestrian2 rabbit racing road shaking sheep singer1 singer2 singer3
soccer1 soccer2 soldier sphere tiger traffic tunnel wiper
"""
VOT2015 = tuple(_VOT2015.split())  # its 60 sequences


def resolve(stack: str) -> tuple[str, dict[str, str]]:
    """The name of a stack in config.yaml, and the file that it needs beside it: name -> text."""
    if stack == BOTH:
        return "stack.yaml", {"stack.yaml": _BOTH}
    return {"vot2015": "vot2015/rgb"}.get(stack, stack), {}
