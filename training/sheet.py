"""Pictures of the data: training pairs as the network sees them, and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.training.pairs import Sample

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

SIDE = 144  # px of a patch on the sheet
GAP = 6
PAPER, BOX = (255, 255, 255), (40, 220, 90)
BINS = 48


def draw_pair(sample: Sample, config: TrackerConfig) -> Picture:
    """Template and search patch of the middle scale side by side, each with the true box."""
    side = config.patch_size / (1 + config.padding)
    scale, row, column = sample.shift.tolist()
    cell = config.patch_size / config.grid  # px
    # In a patch the target is square, whatever its shape: the patch has the target's.
    boxes = [(0.0, 0.0, side), (column * cell, row * cell, side * config.scale_step**scale)]
    halves = []
    for pyramid, (x, y, size) in zip((sample.template, sample.search), boxes, strict=True):
        patch = pyramid[len(pyramid) // 2].numpy() + np.array(config.pixel_mean, np.float32)[:, None, None]
        rgb = np.ascontiguousarray(np.clip(patch, 0, 255).astype(np.uint8).transpose(1, 2, 0)[:, :, ::-1])
        rgb = np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
        zoom, centre = SIDE / config.patch_size, SIDE / 2
        low = [round(centre + zoom * (at - size / 2)) for at in (x, y)]
        high = [round(centre + zoom * (at + size / 2)) for at in (x, y)]
        halves.append(np.asarray(cv2.rectangle(rgb, low, high, BOX, 1, cv2.LINE_AA), np.uint8))
    return np.hstack(halves)


def grid(pictures: Sequence[Picture], columns: int) -> Picture:
    """Pictures of one size in rows."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    paper = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    for index, picture in enumerate(pictures):
        top = GAP + (index // columns) * (height + GAP)
        left = GAP + (index % columns) * (width + GAP)
        paper[top : top + height, left : left + width] = picture
    return paper


def histograms(
    values: Mapping[str, Mapping[str, NDArray[np.float64]]],
    quantities: Mapping[str, tuple[str, tuple[float, float]]],
) -> Picture:
    """A row of histograms for each source: source -> quantity -> values; quantity -> its title and range.

    The axes are logarithmic; what lies beyond the range is counted at its end. The line marks the median.
    """
    figure = Figure(figsize=(3 * len(quantities), 1.8 * len(values)), layout="constrained")
    rows = figure.subplots(len(values), len(quantities), squeeze=False)
    for index, (row, (source, measured)) in enumerate(zip(rows, values.items(), strict=True)):
        for axes, (name, (title, (low, high))) in zip(row, quantities.items(), strict=True):
            axes.set(xscale="log", xlim=(low, high), yticks=[])
            ticks = np.geomspace(low, high, 3)
            axes.set_xticks([], minor=True)
            axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
            axes.set_title(f"{source}: {title}" if axes is row[0] else title, fontsize=8, parse_math=False)
            axes.tick_params(labelsize=7)
            if not len(measured[name]):
                axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
                continue
            axes.hist(
                np.clip(measured[name], low, high), np.geomspace(low, high, BINS + 1), color=f"C{index}"
            )
            median = float(np.median(measured[name]))
            axes.axvline(median, color="0.2")
            axes.set_xlabel(f"median {median:.3g}", fontsize=8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba(), np.uint8)[:, :, :3]  # type: ignore[no-untyped-call]


def png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    return bytes(cv2.imencode(".png", picture[:, :, ::-1])[1])
