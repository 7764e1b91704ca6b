"""The same patches through torch and ONNX Runtime: how far the features are apart."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spcnet.export.onnx import load_backbone
from spcnet.runtime import model, patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.features import OnnxBackbone
from spcnet.runtime.geometry import State
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video

# Two float32 convolutions of up to 288 terms in another order: ~sqrt(288) x 2**-24 = 1e-6 of the largest
# feature; ten times that leaves room for other instruction sets.
TOLERANCE = 1e-5
# FP16 rounds inputs, weights and the features between to 2**-12 of each; the terms of a convolution partly cancel,
# so that a feature is off by several times that.
TOLERANCE_FP16 = 5e-3


class Parity(NamedTuple):
    """The difference of two backbones on the same patches."""

    max_abs: float  # largest difference
    relative: float  # the same, as a share of the largest feature
    patches: int
    tolerance: float  # of relative

    @property
    def passed(self) -> bool:
        return self.relative <= self.tolerance  # NaN fails


def real_patches(config: TrackerConfig, frames: int = 4) -> NDArray[np.float32]:
    """Patches of the demo clip (frames x scales, 3, N, N) float32, around the target and beside it."""
    state = State.from_box(DEMO_BOX)
    pyramids = []
    with open_video(str(DEMO_VIDEO)) as video:
        for index, frame in zip(range(frames), video, strict=False):
            moved = state._replace(cx=state.cx + 40 * index)
            pyramids.append(patches.pyramid(frame, moved, config, config.scales))
    return np.concatenate(pyramids)


def check_parity(checkpoint: Path, exported: Path) -> Parity:
    """Features of the checkpoint in torch against those of the exported model, on patches of real video."""
    backbone, _, _ = load_backbone(checkpoint)
    found, session = model.load(exported)
    batch = real_patches(found.config)
    n, channels = found.config.patch_size, found.config.channels
    features = np.empty((len(batch), channels, n, n), np.float32)
    OnnxBackbone(session)(batch, features)
    expected = backbone(torch.from_numpy(batch)).numpy()
    difference = float(np.abs(features - expected).max())
    tolerance = TOLERANCE_FP16 if found.provenance.get("precision") == "fp16" else TOLERANCE
    return Parity(difference, difference / float(np.abs(expected).max()), len(batch), tolerance)
