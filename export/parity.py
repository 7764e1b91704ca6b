"""The same patches of real video through two subjects: how far their layers are apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.export.scenes import SCENES, demo_scenes, scene_patches
from spcnet.export.subjects import from_checkpoint, from_model
from spcnet.export.tolerances import TOLERANCES, looser
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.files import replacing
from spcnet.runtime.model import Model


class Parity(NamedTuple):
    """The difference of two backbones on the same patches."""

    relative: float  # error of the features
    patches: int
    tolerance: float  # of relative

    @property
    def passed(self) -> bool:
        return self.relative <= self.tolerance  # NaN fails

    def __str__(self) -> str:
        return (
            f"on {self.patches} patches of video: relative error {self.relative:.1e} "
            f"(allowed {self.tolerance:.0e})"
        )


def relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """RMS of the difference over RMS of the expected values; NaN if any value is NaN."""
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and said so by the result
        apart = float(np.linalg.norm(np.subtract(found, expected, dtype=np.float64)))
    return _share(apart, float(np.linalg.norm(expected.astype(np.float64))))


def peak_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, as a share of the largest expected value; NaN where anything is."""
    with np.errstate(invalid="ignore"):
        return _share(float(np.abs(found - expected).max()), float(np.abs(expected).max()))


def _share(apart: float, whole: float) -> float:
    if apart == 0:
        return 0.0
    return apart / whole if whole else float("inf")


def real_patches(config: TrackerConfig, frames: int = SCENES) -> NDArray[np.float32]:
    """Patches of the demo clip (frames x scales, 3, N, N) float32, around the target and beside it."""
    return scene_patches(demo_scenes(frames), config)


def check_parity(checkpoint: Path, exported: Path) -> Parity:
    """Features of the checkpoint in torch against those of the exported model, on patches of real video."""
    reference = from_checkpoint(checkpoint, checkpoint.name)
    other = from_model(exported, exported.name)
    batch = real_patches(other.config)
    error = relative_error(other.layers(batch)["features"], reference.layers(batch)["features"])
    tolerance = TOLERANCES[looser(reference.precision, other.precision)].layers
    return Parity(error, len(batch), tolerance)


def export_checked(
    checkpoint: Path,
    target: Path,
    overrides: Mapping[str, Any],
    scores: Mapping[str, Any],
    precision: str = "fp32",
    calibrate: Path | None = None,
) -> tuple[Model, Parity]:
    """Export a checkpoint as export_onnx does, and compare the model with it before it takes its name.

    Raises as export_onnx, ValueError on another suffix, and RuntimeError where the two differ.
    """
    from spcnet.export.onnx import export_onnx  # devices that compare engines have no torch

    if target.suffix != ".onnx":
        raise ValueError(f"the model to write is {target}; give it a name that ends in .onnx")
    with replacing(target) as aside:
        model = export_onnx(checkpoint, aside, overrides, scores, precision, calibrate)
        parity = check_parity(checkpoint, aside)
        if not parity.passed:
            raise RuntimeError(f"NOT equal to the checkpoint {parity}; {target} is not written")
    return model, parity
