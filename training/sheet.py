"""Pictures of the data: training pairs as the network sees them, and histograms."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spcnet.runtime.config import TrackerConfig
from spcnet.training.pairs import Sample

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

SIDE = 144  # px of a patch on the sheet
GAP = 6
INK, FAINT, PAPER, BOX = (40, 40, 40), (205, 205, 205), (255, 255, 255), (40, 220, 90)
COLOURS = ((46, 108, 164), (200, 98, 44), (62, 136, 84), (140, 86, 150), (150, 120, 40), (90, 90, 90))
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
    width, height, left, top = BINS * 5, 84, 12, 40
    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    size = left + len(quantities) * (width + 24), len(values) * (height + top + 26) + 6
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    for row, (source, measured) in enumerate(values.items()):
        colour = COLOURS[row % len(COLOURS)]
        bottom = (row + 1) * (height + top + 26) - 26
        draw.text((left, bottom - height - top + 2), source, colour, font)
        for column, (name, (title, (low, high))) in enumerate(quantities.items()):
            start = left + column * (width + 24)
            draw.text((start, bottom - height - 16), title, INK, small)
            array = np.clip(measured[name], low, high)
            edges = np.geomspace(low, high, BINS + 1)
            edges[-1] = high
            counts = np.histogram(array, edges)[0]
            step = width // BINS
            for index, count in enumerate(counts.tolist()):
                if count:
                    rise = max(round((height - 8) * count / counts.max()), 1)
                    x = start + index * step
                    draw.rectangle((x, bottom - rise, x + step - 1, bottom), colour)
            draw.line((start, bottom, start + width, bottom), INK)
            for share in (0.0, 0.5, 1.0):
                text, x = f"{low * (high / low) ** share:.3g}", start + round(share * width)
                draw.text((x - share * draw.textlength(text, small), bottom + 3), text, INK, small)
            if len(array):
                median = float(np.median(array))
                x = start + round(width * np.log(median / low) / np.log(high / low))
                draw.line((x, bottom - height + 4, x, bottom), INK)
                text = f"median {median:.3g}"
                place = start + width - draw.textlength(text, small), bottom - height - 16
                draw.text(place, text, colour, small)
            else:
                draw.text((start + width / 2 - 24, bottom - height / 2), "no values", FAINT, small)
    return np.asarray(image, np.uint8)


def png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()
