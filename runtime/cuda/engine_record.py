"""The record beside a TensorRT plan, <name>.engine.json: its versions, machine and options."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import sys

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import BATCH
from spcnet.runtime.regression import decode, encode, head_weights

FORMAT = "spcnet-engine-1"
REBUILD = "build it again on this machine: spcnet build MODEL.onnx"
PLATFORM = f"{sys.platform}-{platform.machine()}"
_FIELDS = {  # the pattern of each field's JSON
    "flavour": '"(tensorrt|tensorrt_rtx)"',
    "version": r'"\d{1,5}(\.\d{1,5}){2,3}"',
    "compute_capability": r'\["\d{1,2}\.\d"(, "\d{1,2}\.\d")*\]',
    "gpu": '"[^\\\\]*"',
    "platform": r'"[a-z0-9]+-\w+"',
    "precision": '"(fp32|fp16|int8)"',
    "min_patches": r"[1-9]\d{0,3}",
    "max_patches": r"[1-9]\d{0,3}",
    "hardware": '"(exact|same_compute_capability|ampere_plus)"',
    "dla": r"null|\d",
    "strongly_typed": "true|false",
    "parity": r"null|\d+(\.\d+)?(e[+-]?\d+)?",
    "plan_sha256": '"[0-9a-f]{64}"',
    "onnx_sha256": '"[0-9a-f]{64}"',
    "host_code": "true|false",
}


@dataclasses.dataclass(frozen=True)
class EngineRecord:
    """How a plan was built, and for which machine. Raises ValueError, naming the field, on a bad value."""

    flavour: str  # the package
    version: str  # of the package, 10.3.0.30; the last number may be left out
    compute_capability: tuple[str, ...]  # 8.7; TensorRT-RTX builds for several
    gpu: str  # its name; empty if the plan was built ahead of time
    platform: str  # linux-aarch64
    precision: str
    min_patches: int  # at once
    max_patches: int
    hardware: str  # runs on this GPU, on all of its compute capability, or on Ampere and newer ones
    dla: int | None  # the core of the deep learning accelerator
    strongly_typed: bool  # the precision is that of the graph; else TensorRT was free to choose
    parity: float | None  # relative error of its features on real patches; None if built where it cannot run
    plan_sha256: str
    onnx_sha256: str
    host_code: bool  # version-compatible: contains CPU code, and runs in later versions
    config: TrackerConfig
    regression: bytes | None = None  # the head of the box regression, which our kernels compute

    def __post_init__(self) -> None:
        for name, pattern in _FIELDS.items():
            found = json.dumps(getattr(self, name))
            if not re.fullmatch(pattern, found, re.ASCII):
                raise ValueError(f"{name} is {found:.99}, needed is {pattern}")
        head_weights(self.regression, self.config)

    def to_json(self) -> str:
        """The record as the text of a sidecar."""
        values = {**dataclasses.asdict(self), "config": json.loads(self.config.to_json())}
        values["regression"] = None if self.regression is None else encode(self.regression)
        return json.dumps({"format": FORMAT, **values}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EngineRecord:
        """Read the text of to_json. Raises ValueError on anything else."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is cut off, or no JSON ({error})") from None
        found = values.pop("format", None) if isinstance(values, dict) else None
        if found != FORMAT:
            raise ValueError(f"has format {found!r:.99}, needed is {FORMAT!r}: spcnet build did not write it")
        names = {*_FIELDS, "config", "regression"}
        try:
            values.setdefault("regression", None)  # a record from before there was any
            if names ^ values.keys():
                raise ValueError(f"key {min(names ^ values.keys())!r:.99} is missing or unknown")
            config, capability = values["config"], values["compute_capability"]
            if not isinstance(config, dict) or not isinstance(capability, list):
                raise ValueError("config is no object, or compute_capability no list")
            values |= {
                "config": TrackerConfig.from_dict(config),
                "compute_capability": tuple(capability),
                "regression": None if values["regression"] is None else decode(values["regression"]),
            }
            return cls(**values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"was edited: {error}") from None

    @property
    def capabilities(self) -> str:
        """The compute capabilities it runs on, in words."""
        return "8.0 or higher" if self.hardware == "ampere_plus" else " or ".join(self.compute_capability)

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """True if it was built for GPUs of this compute capability."""
        if self.hardware == "ampere_plus":
            return capability >= (8, 0)
        return f"{capability[0]}.{capability[1]}" in self.compute_capability

    @property
    def rebuild(self) -> str:
        """Advice if it does not fit: the command that made it."""
        targets, most = divmod(self.max_patches, max(self.config.scales, self.config.learn_scales))
        options = {
            "--flavour tensorrt_rtx": self.flavour == "tensorrt_rtx",
            f"--max-targets {targets}": not most and targets != BATCH,
            f"--hardware {self.hardware}": self.hardware != "exact",
            f"--dla {self.dla}": self.dla is not None,
            "--version-compatible": self.host_code,
        }
        return " ".join([REBUILD, *(option for option, needed in options.items() if needed)])
