"""How far subjects are from a reference on real video: layers, responses, one step, whole sequences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spcnet.common.clips import DEMO, Clip
from spcnet.common.metrics import iou, score
from spcnet.export.parity import peak_error, relative_error
from spcnet.export.scenes import Scene, scene_patches, scenes_of
from spcnet.export.subjects import Subject
from spcnet.export.tolerances import TOLERANCES, Tolerance, looser
from spcnet.runtime import patches
from spcnet.runtime.backend import Backend
from spcnet.runtime.tracker import Tracker

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One number of the verdict: the worst over the clips."""

    name: str
    value: float
    limit: float
    at_least: bool  # the limit is the lowest that passes, else the highest
    clip: str  # where it was found

    @property
    def passed(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit  # NaN fails

    @property
    def badness(self) -> tuple[bool, float]:
        """To find the worst of several: NaN is."""
        return math.isnan(self.value), -self.value if self.at_least else self.value


@dataclass
class Comparison:
    """A subject beside the reference."""

    subject: Subject
    precision: str  # the looser of the two: what the tolerances are for
    measures: dict[str, Measure] = field(default_factory=dict)
    overlaps: dict[str, Floats] = field(
        default_factory=dict
    )  # clip -> IoU with the reference from frame 1 on
    auc: dict[str, float] = field(default_factory=dict)  # clip -> of this subject, where the truth is known

    @property
    def passed(self) -> bool:
        return all(measure.passed for measure in self.measures.values())

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCES[self.precision]

    def note(self, name: str, value: float, limit: float, clip: str, *, at_least: bool = False) -> None:
        """Keep the worse of what is known and this."""
        new = Measure(name, value, limit, at_least, clip)
        known = self.measures.get(name, new)
        self.measures[name] = max(known, new, key=lambda measure: measure.badness)


@dataclass
class Check:
    """The result of a check."""

    reference: Subject
    auc: dict[str, float]  # of the reference
    comparisons: list[Comparison]

    @property
    def passed(self) -> bool:
        return all(comparison.passed for comparison in self.comparisons)


def check(
    reference: Subject,
    others: Sequence[Subject],
    clips: Sequence[Clip],
    progress: Callable[[str], None] = lambda clip: None,
) -> Check:
    """Compare each of others with the reference; progress is told the clip of every frame that is done.

    Raises ValueError when a configuration differs.
    """
    for other in others:
        _same_config(reference, other)
    result = Check(
        reference, {}, [Comparison(other, looser(reference.precision, other.precision)) for other in others]
    )
    with np.errstate(all="ignore"), ExitStack() as stack:  # a broken network is what this finds
        backends = [stack.enter_context(closing(subject.open())) for subject in (reference, *others)]
        for clip in clips:
            scenes = scenes_of(clip)
            _compare_layers(result, clip, scenes)
            _compare_responses(result, clip, scenes)
            _compare_steps(result, clip, scenes, backends)
        for clip in clips:
            _compare_tracks(result, clip, backends, progress)
    if result.auc:
        mean = float(np.mean(list(result.auc.values())))
        for found in result.comparisons:
            apart = abs(float(np.mean(list(found.auc.values()))) - mean)
            found.note("AUC", apart, found.tolerance.auc, f"mean of {len(result.auc)}")
    return result


def _same_config(reference: Subject, other: Subject) -> None:
    for key in (entry.name for entry in dataclasses.fields(reference.config)):
        ours, theirs = getattr(reference.config, key), getattr(other.config, key)
        if ours != theirs:
            raise ValueError(
                f"{key} is {ours} in {reference.name} and {theirs} in {other.name}; "
                "compare models of one configuration"
            )


def _compare_layers(result: Check, clip: Clip, scenes: Sequence[Scene]) -> None:
    batch = scene_patches(scenes, result.reference.config)
    expected = result.reference.layers(batch)
    for comparison in result.comparisons:
        found = comparison.subject.layers(batch)
        for name in expected:
            if name in found:
                error = relative_error(found[name], expected[name])
                comparison.note(name, error, comparison.tolerance.layers, clip.name)


def _compare_responses(result: Check, clip: Clip, scenes: Sequence[Scene]) -> None:
    respond, config = result.reference.respond, result.reference.config
    if respond is None:
        return
    for frame, state, following in scenes:
        train = patches.pyramid(frame, state, config, config.learn_scales)
        search = patches.pyramid(following, state, config, config.scales)
        expected = respond(train, search)
        for comparison in result.comparisons:
            if comparison.subject.respond is not None:
                error = peak_error(comparison.subject.respond(train, search), expected)
                comparison.note("responses", error, comparison.tolerance.responses, clip.name)


def _compare_steps(result: Check, clip: Clip, scenes: Sequence[Scene], backends: Sequence[Backend]) -> None:
    for frame, state, following in scenes:
        found = []
        for backend in backends:
            slot = backend.add(backend.accept(frame)[0], state)
            found += backend.localize(backend.accept(following)[0], [slot])
            backend.remove(slot)
        expected = found[0]
        for comparison, step in zip(result.comparisons, found[1:], strict=True):
            limits = comparison.tolerance
            overlap = iou(np.array([step.state.to_box()]), np.array([expected.state.to_box()]))[0]
            comparison.note("step IoU", float(overlap), limits.step_iou, clip.name, at_least=True)
            comparison.note("step score", abs(step.score - expected.score), limits.step_score, clip.name)


def _compare_tracks(
    result: Check, clip: Clip, backends: Sequence[Backend], progress: Callable[[str], None]
) -> None:
    boxes = _track([Tracker(backend) for backend in backends], clip, progress)
    if clip.truth is not None:
        result.auc[clip.name] = score(boxes[0], clip.truth).auc
    for comparison, found in zip(result.comparisons, boxes[1:], strict=True):
        overlaps = comparison.overlaps[clip.name] = iou(found[1:], boxes[0, 1:])
        if clip.truth is not None:
            comparison.auc[clip.name] = score(found, clip.truth).auc
        if clip is DEMO:
            mean = float(overlaps.mean())
            comparison.note("demo IoU", mean, comparison.tolerance.demo_iou, DEMO.name, at_least=True)


def _track(trackers: Sequence[Tracker], clip: Clip, progress: Callable[[str], None]) -> Floats:
    """The boxes (trackers, frames, 4) of a clip; NaN from where a tracker gives a box that is not finite."""
    boxes = np.full((len(trackers), clip.count, 4), np.nan)
    boxes[:, 0] = clip.box
    with clip.open() as video:
        for index, frame in enumerate(video):
            for row, tracker in enumerate(trackers):
                if index == 0:
                    tracker.init(frame, clip.box)
                elif np.isfinite(boxes[row, index - 1]).all():
                    boxes[row, index] = tracker.update(frame).box
            progress(clip.name)
    return boxes
