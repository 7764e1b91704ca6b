"""The kernels of the tracker, one method each, which chooses grid and block and enqueues.

Addresses are integers; the docstrings give the shapes and dtypes. T targets, S scales, C channels, N patch
size, M x M cells, P x P points of the response, K x R band, on the device with the vertical frequency last:
num (slots, C, K, R) complex64, den (slots, K, R) float32, histograms (slots, 2, COLOURS) float32, templates
(slots, C, W, W) float32. A target's state is a row of TARGET (slots,), its measurement a row of MEASUREMENT.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime import colour, dcf
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import BATCH, Arrays, Device, Kernel, ceil_div, grid
from spcnet.runtime.cuda.head import head_arrays
from spcnet.runtime.cuda.layout import MAX_SIZE, SEARCH, TARGET, TILE_ROWS
from spcnet.runtime.geometry import MIN_SIDE, NO_OFFSET, SCALE_RANGE, Offset, State, scale_exponents
from spcnet.runtime.locate import PSR_REACH
from spcnet.runtime.regression import HeadWeights, window_side

FFT_SIZES = (32, 64, 128)


class Filters(NamedTuple):
    """The addresses of the filters of all slots.

    With fast_interp_factor the response of num and den is the mean of two filters': slow_num and den, which
    learn by interp_factor, and fast_num and fast_den. Else the last three are 0.
    """

    num: int
    den: int
    slow_num: int = 0
    fast_num: int = 0
    fast_den: int = 0


def first_state(state: State, offset: Offset = NO_OFFSET) -> NDArray[Any]:
    """The row of TARGET of a target that begins at state."""
    return np.array([(*state, state.w, state.h, 0, 0, 0, state.cx, state.cy, *offset, 1)], TARGET)


def search_constants(config: TrackerConfig) -> dict[str, NDArray[Any]]:
    """SEARCH of localize and of update: all that may change between two frames, but the learning rates."""
    fixed = (
        (1 + config.padding) / config.points,
        config.scale_step,
        np.log(config.scale_step),
        config.scale_penalty,
        MIN_SIDE,
        *SCALE_RANGE,
        config.interp_factor,
        config.uncertain_score,
        config.lost_score,
        config.recovery_radius,
        config.colour_weight,
        config.box_gain,
        config.scales,
        config.points,
        config.response_upsampling,
        round(PSR_REACH * config.sigma * config.response_upsampling),
    )
    intervals = {"locate_constants": 0, "update_constants": config.update_interval}
    return {name: np.array((*fixed, interval), SEARCH) for name, interval in intervals.items()}


class Launcher:
    """The kernels with the constants of one configuration.

    dft selects the kernels of the transforms: "fft" or "dft"; None takes the fastest for the
    configuration. head is that of the box regression, if there is one. Raises ValueError if no kernel fits.
    """

    def __init__(
        self,
        device: Device,
        config: TrackerConfig,
        dft: str | None = None,
        head: HeadWeights | None = None,
    ) -> None:
        m = config.grid
        if m > MAX_SIZE:
            raise ValueError(
                f"features have {m} x {m} cells; the CUDA kernels take at most {MAX_SIZE}: use backend='cpu'"
            )
        self.dft = dft or ("fft" if m in FFT_SIZES else "dft")
        if self.dft == "fft" and m not in FFT_SIZES:
            raise ValueError(f"features have {m} x {m} cells; the FFT kernels take {FFT_SIZES}: use 'dft'")
        self.config = config
        vertical, horizontal = dcf.frequencies(config)
        self.rows, self.band = len(vertical), len(horizontal)  # R, K
        self.center = int(np.flatnonzero(vertical == 0)[0])
        self.tiles = ceil_div(config.points, TILE_ROWS)  # of a response
        self.coloured = config.colour_weight > 0
        self.side = window_side(m) if config.box_gain > 0 else 0  # W; 0: no box regression
        self._frequencies = self.rows - self.center  # F: vertical frequencies that are not negative
        self._device = device
        self.constants = Arrays(device, self._arrays(config) | (head_arrays(config, head) if head else {}))
        suffix = f"fft_{m}" if self.dft == "fft" else self.dft
        form = {
            "fft": ("PPPPi", "PPPPPPPiiiiif", "PPPPPPPPPPPPiiiiifff"),
            "dft": ("PPPii", "PPPPPPiiiiiif", "PPPPPPPPPPPiiiiiifff"),
        }[self.dft]
        self._rows = device.kernel(f"rows_{suffix}", form[0])
        self._respond = device.kernel(f"respond_{suffix}", form[1])
        self._learn = device.kernel(f"learn_{suffix}", form[2])
        self._crop = device.kernel("crop", "PPPPPiiiddfff")
        self._locate = device.kernel("locate", "PPPPPPPPPPPPPiiif")
        self._colour_respond = device.kernel("colour_respond", "PPPPPPiiifff")
        self._colour_learn = device.kernel("colour_learn", "PPPPPiiffffffi")
        self._regress_keep = device.kernel("regress_keep", "PPPiiii")
        self._regress = device.kernel("regress", "PPPPPPPPPPPPPPPPPPiiii")

    def _arrays(self, config: TrackerConfig) -> dict[str, NDArray[Any]]:
        inverse_rows, inverse_columns = dcf.inverse_matrices(config)
        index = np.arange(config.grid)
        step = np.float64(config.scale_step)
        arrays: dict[str, NDArray[Any]] = {
            "table": np.exp(-2j * np.pi / config.grid * index).astype(np.complex64),
            "inverse_rows": inverse_rows.T.astype(np.complex64),  # (R, P)
            # pairs (re, -im): the real part of the product of a complex number with them
            "inverse_columns": np.conj(inverse_columns).astype(np.complex64),  # (K, P)
            "yf": dcf.label_spectrum(config).T.astype(np.float32),  # (K, R)
            "arrived": np.zeros(BATCH, np.uint32),  # blocks of a target that are done: 0 between two launches
        }
        if self.coloured:
            means = colour.box_means(config).astype(np.float32).T  # (N, P)
            covered = [np.flatnonzero(box) for box in means.T]
            arrays |= {
                "colour_means": means,
                "colour_spans": np.array([(box[0], box[-1] + 1) for box in covered], np.int32),  # (P, 2)
                "colour_zones": colour.zones(config).astype(np.int32),  # (N,)
            }
        for name, scales in (("search", config.scales), ("learn", config.learn_scales)):
            rows, columns = dcf.dft_matrices(config, learn=name == "learn")
            positive = rows[self.center :]
            arrays[f"{name}_columns"] = columns.astype(np.complex64)  # (M, K)
            basis = np.stack([positive.real.T, -positive.imag.T], -1)  # (M, F, 2)
            arrays[f"{name}_basis"] = basis.astype(np.float32)
            arrays[f"{name}_window"] = dcf.window(config, learn=name == "learn").astype(np.float32)
            exponents = np.asarray(scale_exponents(scales), np.float64)
            arrays[f"{name}_factors"] = (1 + config.padding) * step**exponents
            arrays[f"{name}_amplitudes"] = dcf.scale_amplitudes(config, scales).astype(np.float32)
        return arrays | search_constants(config)

    def configure(self, config: TrackerConfig) -> None:
        """Go on with the values of another config that may change between two frames, while nothing runs."""
        self.config = config
        for name, values in search_constants(config).items():
            self._device.write(self.constants[name], values)

    def crop(
        self,
        frame: int,
        targets: int,
        slots: int,
        patches: int,
        count: int,
        *,
        learn: bool,
        turn: float = 0.0,
    ) -> None:
        """FRAME, states and count slots (int32) to patches (count * S, 3, N, N) float32.

        Learnt patches are cut at the target, searched ones at the centre of the search. turn is that of the
        patches in the frame, in degrees, clockwise as seen.
        """
        scales = self.config.learn_scales if learn else self.config.scales
        n = self.config.patch_size
        factors = self.constants["learn_factors" if learn else "search_factors"]
        self._crop(
            grid(ceil_div(n, 32), ceil_div(n, 8), count * scales),
            (32, 8, 1),
            *(frame, targets, slots, factors, patches, scales, n, learn),
            *(math.cos(math.radians(turn)), math.sin(math.radians(turn)), *self.config.pixel_mean),
        )

    def transform(self, features: int, half: int, images: int, *, learn: bool) -> None:
        """features (images, M, M) float32 to the K lowest horizontal frequencies half (images, K, M)."""
        m, constants, use = self.config.grid, self.constants, "learn" if learn else "search"
        if self.dft == "fft":
            self._rows(
                grid(m // 32, images),
                (128, 1, 1),
                *(features, constants[f"{use}_window"], constants["table"], half, self.band),
            )
        else:
            shape = grid(ceil_div(m, 32), ceil_div(self.band, 32), images)
            self._rows(shape, (128, 1, 1), features, constants[f"{use}_columns"], half, m, self.band)

    def respond(self, half: int, filters: Filters, slots: int, spectra: int, count: int) -> None:
        """Eq. 18: half (count * S, C, K, M) and count slots' filters to spectra (count * S, K, R)."""
        config = self.config
        arguments = (filters.num, filters.den, slots, spectra, config.scales, config.channels)
        images = count * config.scales
        self._columns(self._respond, "search", images, half, arguments, (config.regularization,))

    def colour_respond(self, patches: int, histograms: int, slots: int, colour: int, count: int) -> None:
        """Searched patches (count * S, 3, N, N) and histograms to colour (count, P, P) float32."""
        config, constants = self.config, self.constants
        self._colour_respond(
            grid(self.tiles, count),
            (128, 1, 1),
            *(patches, histograms, slots, constants["colour_means"], constants["colour_spans"], colour),
            *(config.scales, config.patch_size, config.points, *config.pixel_mean),
        )

    def locate(
        self,
        spectra: int,
        colour: int,
        responses: int,
        tiles: int,
        frame: int,
        slots: int,
        targets: int,
        windows: int,
        results: int,
        count: int,
        *,
        update: bool,
    ) -> None:
        """spectra (count * S, K, R) to responses, the states of count slots, and their MEASUREMENT rows.

        responses are (count * S, P, P) float32; tiles (count * S, ceil(P / 8)) have their sums, and the
        maxima of the joint response with colour (count, P, P); 0: without. With spectra 0 both are there
        already. The rows stand from FRAME's result on. windows (count,) CELL_WINDOW are for the box
        regression, or 0. With update, the targets' age and learning rate are set, too. count is at most
        BATCH, as that of regress.
        """
        config, constants = self.config, self.constants
        search = constants["update_constants" if update else "locate_constants"]
        self._locate(
            grid(self.tiles, config.scales, count) if spectra else grid(1, 1, count),
            (128, 1, 1),
            *(spectra, constants["inverse_rows"], constants["inverse_columns"], colour, responses, tiles),
            *(frame, search, slots, targets, windows, results, constants["arrived"]),
            *(config.points, self.rows, self.band, config.colour_weight),
        )

    def regress(
        self,
        features: int,
        templates: int,
        windows: int,
        first: int,
        frame: int,
        slots: int,
        targets: int,
        results: int,
        count: int,
    ) -> None:
        """Searched features (count * S, C, M, M) in windows into the states and rows that locate left.

        first (count, W / 2, W / 2, 32) float32 are the outputs of the first layer.
        """
        config, constants = self.config, self.constants
        layers = [constants[f"head_{kind}{layer}"] for layer in range(4) for kind in ("weight", "bias")]
        self._regress(
            grid(self.side // 2, count),
            (256, 1, 1),
            *(features, templates, windows, slots, *layers[:2], first, *layers[2:], frame),
            *(constants["locate_constants"], targets, results, constants["arrived"]),
            *(config.scales, config.channels, config.grid, self.side),
        )

    def regress_keep(self, features: int, slots: int, templates: int, count: int) -> None:
        """Learnt features (count * S, C, M, M) of new targets to the templates of count slots."""
        config, side = self.config, self.side
        self._regress_keep(
            grid(ceil_div(config.channels * side * side, 256), count),
            (256, 1, 1),
            *(features, slots, templates, config.learn_scales, config.channels, config.grid, side),
        )

    def learn(
        self,
        half: int,
        targets: int,
        slots: int,
        filters: Filters,
        count: int,
        rates: tuple[float, float] | None = None,
    ) -> None:
        """Eq. 17 and 25: half (count * S, C, K, M) into the filters of count slots.

        rates are the learning rates of a target's filter and of its fast one; None takes the rate of each
        target's state, and fast_interp_factor where that is not 0.
        """
        config, constants = self.config, self.constants
        label = (constants["yf"], constants["learn_amplitudes"])
        arguments = (*label, targets, slots, *filters, config.learn_scales, config.channels)
        last = (*(rates or (-1.0, config.fast_interp_factor)), config.regularization)
        self._columns(self._learn, "learn", count, half, arguments, last)

    def colour_learn(
        self, patches: int, targets: int, slots: int, histograms: int, count: int, rate: float | None = None
    ) -> None:
        """Learnt patches (count * S, 3, N, N) into the histograms of count slots.

        rate is the learning rate; None takes colour_rate where each target's state has a rate.
        """
        config = self.config
        self._colour_learn(
            grid(count),
            (512, 1, 1),
            *(patches, self.constants["colour_zones"], targets, slots, histograms),
            *(config.learn_scales, config.patch_size, *config.pixel_mean, *colour.pixels(config)),
            *(config.colour_rate if rate is None else rate, rate is None),
        )

    def _columns(
        self,
        kernel: Kernel,
        use: str,
        count: int,
        half: int,
        arguments: tuple[float, ...],
        last: tuple[float, ...],
    ) -> None:
        """Launch a kernel that begins with the vertical DFT of half; use is "search" or "learn"."""
        m, rows, band, constants = self.config.grid, self.rows, self.band, self.constants
        if self.dft == "fft":
            shape, block = grid(band, count), 256
            first: tuple[int, ...] = (constants[f"{use}_window"], constants["table"])
            sizes: tuple[int, ...] = (rows, band, self.center)
        else:
            shape, block = grid(ceil_div(self._frequencies, 8), band, count), 64
            first, sizes = (constants[f"{use}_basis"],), (m, rows, band, self._frequencies)
        kernel(shape, (block, 1, 1), half, *first, *arguments, *sizes, *last)

    def close(self) -> None:
        """Free the memory of the constants."""
        self.constants.close()
