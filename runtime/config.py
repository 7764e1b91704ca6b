"""The tracker's configuration: one frozen record that travels inside the model file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spcnet.runtime.strict import build, read_json

# The fields that may change between two frames, in the order of spcnet_parameter. All others decide how the
# features, the filter or its response are computed: they belong to the model.
CHANGEABLE = (
    "uncertain_score",
    "lost_score",
    "recovery_radius",
    "update_interval",
    "interp_factor",
    "box_gain",
    "scale_penalty",
    "fast_interp_factor",
)
SWITCHES = ("box_gain", "fast_interp_factor")  # of these, whether they are 0 belongs to the model, too


@dataclass(frozen=True)
class TrackerConfig:
    """Every hyper-parameter of the tracker. The defaults are the published setting.

    Equation numbers are those of Hu et al., "DCFNet: Discriminant Correlation Filters Network for
    Visual Tracking", JCST 2023. Raises ValueError, naming the field, when a value is out of range.
    """

    patch_size: int = 125  # N: patches are N x N pixels
    channels: int = 32  # C: feature channels
    stride: int = 1  # of the backbone: features are M x M cells, M = N / stride
    scales: int = 3  # S: patches searched per frame, odd
    learn_scales: int = 3  # patches learnt from; 1 learns positions only (DCFNet)
    response_upsampling: int = 1  # points a cell, along each axis, at which the response is evaluated
    scale_step: float = 1.02  # alpha: patch s is cut at alpha**s times the current size
    padding: float = 2.0  # patch side = target side x (1 + padding)
    output_sigma_factor: float = 0.1  # sigma of the label = factor x M / (1 + padding)
    search_window: float = 1.0  # power of the Hann window on searched features
    learn_window: float = 1.0  # the same on learnt features; above 1, less background is learnt
    scale_sigma: float = 1.0  # sigma_s of the label over the scales; inf = the same label at each
    regularization: float = 1e-4  # lambda of eq. 17, for an unnormalised DFT
    interp_factor: float = 0.008  # eta of eq. 25, the learning rate of the filter
    # eta of a second filter, which forgets faster: the response is the mean of both. 0: one, as published
    fast_interp_factor: float = 0.0
    first_turn: float = 0.0  # degrees; first patches are learnt turned both ways, too. 0: not, as published
    scale_penalty: float = 1.0  # the response of scale s is weighted by penalty**|s|
    update_interval: int = 1  # learn on every k-th frame
    pixel_mean: tuple[float, float, float] = (104.0, 117.0, 123.0)  # B, G, R grey levels
    uncertain_score: float = 0.2  # a peak below this is UNCERTAIN ...
    lost_score: float = 0.10  # ... and below this LOST
    # 0: the status is only reported, as published. Else: learn only while TRACKING; after two weak frames in
    # a row the target is LOST and is searched this many target sides around where it was last seen, until a
    # peak reaches uncertain_score.
    recovery_radius: float = 0.0
    colour_weight: float = 0.0  # share of the colour model in the joint response; 0: none, as published
    colour_rate: float = 0.02  # learning rate of the colour histograms
    box_gain: float = 0.0  # share of the box regression's correction that is applied; 0: none, as published

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "pixel_mean":
                value = tuple(float(v) for v in value)
                if len(value) != 3:
                    raise ValueError(f"pixel_mean has {len(value)} values; give 3, in B, G, R order")
                object.__setattr__(self, "pixel_mean", value)
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{field.name} is {value!r}; give a number")
            elif field.type == "int":
                if isinstance(value, float) and not value.is_integer():
                    raise ValueError(f"{field.name} is {value}; give a whole number")
                object.__setattr__(self, field.name, int(value))
            else:
                object.__setattr__(self, field.name, float(value))
            for number in value if isinstance(value, tuple) else (value,):
                low, high = RANGES[field.name]
                if not low <= number <= high:
                    raise ValueError(f"{field.name} is {number}; give a value in [{low}, {high}]")
        if self.patch_size % self.stride:
            raise ValueError(f"patch_size is {self.patch_size}; give a multiple of stride, {self.stride}")
        if self.scales % 2 == 0 or self.learn_scales % 2 == 0:
            raise ValueError(
                f"scales is {self.scales} and learn_scales {self.learn_scales}; both must be odd, "
                "so that one patch has the current size"
            )
        if self.fast_interp_factor > 0 and not 0 < self.interp_factor <= self.fast_interp_factor:
            raise ValueError(
                f"fast_interp_factor is {self.fast_interp_factor} and interp_factor {self.interp_factor}; "
                "give an interp_factor above 0 and not above the fast one, or a fast_interp_factor of 0"
            )
        if self.lost_score > self.uncertain_score:
            raise ValueError(
                f"lost_score {self.lost_score} is above uncertain_score {self.uncertain_score}; lower it"
            )

    @property
    def grid(self) -> int:
        """M: features are M x M cells."""
        return self.patch_size // self.stride

    @property
    def points(self) -> int:
        """P: responses are P x P points.

        The response is a trigonometric polynomial, so it is known exactly between the cells, too. If sigma is
        below about 2 cells, the samples at the cells can miss the peak by much, and by an amount that depends
        on the target's position.
        """
        return self.grid * self.response_upsampling

    @property
    def sigma(self) -> float:
        """Spatial sigma of the label, in feature cells."""
        return self.output_sigma_factor * self.grid / (1.0 + self.padding)

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates of a target's filter and of its fast one."""
        return self.interp_factor, self.fast_interp_factor

    def changed(self, changes: Mapping[str, Any]) -> TrackerConfig:
        """The config with other values of fields that may change between two frames: CHANGEABLE.

        Raises ValueError on other fields, values out of range, and a value of SWITCHES turned on or off.
        """
        for name in changes:
            if name not in CHANGEABLE:
                reason, advice = "is no field of the config", ""
                if name == "scales":
                    reason, advice = "sizes the tracker", ", and give scales where it is opened"
                elif name in (field.name for field in dataclasses.fields(self)):
                    reason, advice = "belongs to the model", ", or export the model with another"
                raise ValueError(f"{name} {reason}; change only {', '.join(CHANGEABLE)}{advice}")
        config = dataclasses.replace(self, **changes)
        for name in SWITCHES:
            before, after = getattr(self, name), getattr(config, name)
            if (before > 0) != (after > 0):
                raise ValueError(
                    f"{name} is {after:g}, but the model has {before:g}; "
                    + (
                        "give a value above 0"
                        if before
                        else "leave it 0, or export a model that has it above 0"
                    )
                )
        return config

    def to_json(self) -> str:
        """The config as standard JSON, sorted; an infinite scale_sigma is written as null."""
        values = dataclasses.asdict(self)
        if math.isinf(self.scale_sigma):
            values["scale_sigma"] = None
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> TrackerConfig:
        """Read the text of to_json. Raises ValueError on broken JSON and on unknown keys."""
        values = read_json(text, "the tracker config")
        if not isinstance(values, dict):
            raise ValueError(f"the tracker config is a {type(values).__name__}; it must be an object")
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrackerConfig:
        """Build from plain values. Raises ValueError on unknown keys and values out of range."""
        if isinstance(values, Mapping) and values.get("scale_sigma", 0.0) is None:
            values = {**values, "scale_sigma": math.inf}
        return build(cls, values, "tracker")


RANGES: dict[str, tuple[float, float]] = {
    "patch_size": (8, 512),
    "channels": (1, 512),
    "stride": (1, 16),
    "scales": (1, 33),
    "response_upsampling": (1, 16),
    "learn_scales": (1, 33),
    "scale_step": (1.0001, 2.0),
    "padding": (0.1, 10.0),
    "output_sigma_factor": (0.01, 1.0),
    "search_window": (0.0, 8.0),
    "learn_window": (0.0, 8.0),
    "scale_sigma": (0.01, math.inf),
    "regularization": (0.0, 1e12),
    "interp_factor": (0.0, 1.0),
    "fast_interp_factor": (0.0, 1.0),
    "first_turn": (0.0, 90.0),
    "scale_penalty": (0.1, 1.0),
    "update_interval": (1, 1_000_000),
    "pixel_mean": (0.0, 255.0),
    "uncertain_score": (0.0, 10.0),
    "lost_score": (0.0, 10.0),
    "recovery_radius": (0.0, 10.0),
    "colour_weight": (0.0, 1.0),
    "colour_rate": (0.0, 1.0),
    "box_gain": (0.0, 1.0),
}
