"""The options of an engine, and the record that a build with them will have."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Any

from spcnet.runtime.cuda.available import Gpu
from spcnet.runtime.cuda.device import BATCH
from spcnet.runtime.cuda.engine_record import PLATFORM, EngineRecord
from spcnet.runtime.model import Model

FLAVOURS = ("tensorrt", "tensorrt_rtx")
HARDWARE = ("exact", "same_compute_capability", "ampere_plus")


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """The options of an engine. Raises ValueError, naming the field."""

    flavour: str | None = None  # the package; None: the one that is installed, tensorrt before tensorrt_rtx
    target: int | None = None  # compute capability without the point; None: that of the GPU here
    max_targets: int = BATCH  # tracked at once
    workspace: int | None = None  # MiB for the tactics; None: DEFAULT_WORKSPACE, tensorrt_rtx chooses
    level: int = 3  # of the builder's optimisation, 0 to 5: higher takes longer
    hardware: str = "exact"
    version_compatible: bool = False  # also for later TensorRT; such a plan holds code for the CPU
    dla: int | None = None  # core of the deep learning accelerator

    def __post_init__(self) -> None:
        if self.flavour not in (None, *FLAVOURS):
            raise ValueError(f"flavour is {self.flavour!r}; give one of {', '.join(FLAVOURS)}")
        if self.hardware not in HARDWARE:
            raise ValueError(f"hardware is {self.hardware!r}; give one of {', '.join(HARDWARE)}")
        for name, low, high in (
            ("target", 50, 999),
            ("max_targets", 1, BATCH),
            ("workspace", 1, 1 << 20),
            ("level", 0, 5),
            ("dla", 0, 9),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} is {value}; give a whole number in [{low}, {high}]")


def planned(found: Model, options: BuildOptions, trt: Any, gpu: Gpu | None) -> EngineRecord:
    """The record of the engine to be built; plan_sha256 and parity are filled in afterwards.

    Raises ValueError, RuntimeError.
    """
    config, flavour = found.config, trt.__name__
    version = ".".join(re.findall(r"\d+", re.split("[^0-9.]", trt.__version__)[0])[:4])
    precision = str(found.provenance.get("precision", "fp32"))
    number = _target(options, flavour, gpu)
    ahead = gpu is None or number != _number(gpu)
    only_tensorrt = options.hardware != "exact", options.dla is not None, options.version_compatible
    if flavour == "tensorrt_rtx" and any(only_tensorrt):
        raise ValueError(
            "hardware, dla and version_compatible are options of tensorrt; tensorrt_rtx compiles for the "
            "GPU when it loads"
        )
    few = min(config.scales, config.learn_scales)
    most = options.max_targets * max(config.scales, config.learn_scales)
    if options.dla is not None:
        if precision == "fp32":
            raise ValueError(
                f"{found.path} is fp32, and the DLA needs fp16 or int8; export it with --precision fp16"
            )
        if config.scales != config.learn_scales:
            raise ValueError(
                f"scales is {config.scales} and learn_scales {config.learn_scales}, but the DLA takes one "
                "number of patches; export the model with both alike"
            )
        most = few
    return EngineRecord(
        flavour=flavour,
        version=version,
        compute_capability=(f"{number // 10}.{number % 10}",),
        gpu="" if gpu is None or ahead else gpu.name,
        platform=PLATFORM,
        precision=precision,
        min_patches=few,
        max_patches=most,
        hardware=options.hardware,
        dla=options.dla,
        strongly_typed=True,
        parity=None,
        plan_sha256="0" * 64,
        onnx_sha256=hashlib.sha256(found.path.read_bytes()).hexdigest(),
        host_code=options.version_compatible,
        config=config,
        regression=found.regression,
    )


def _number(gpu: Gpu) -> int:
    return 10 * gpu.capability[0] + gpu.capability[1]


def _target(options: BuildOptions, flavour: str, gpu: Gpu | None) -> int:
    """The compute capability to build for, without the point."""
    if options.target is None:
        if gpu is None:
            raise RuntimeError(
                "there is no NVIDIA GPU to build for; build on the device, or ahead for a named one with "
                "--flavour tensorrt_rtx --target NN"
            )
        return _number(gpu)
    if flavour == "tensorrt" and (gpu is None or options.target != _number(gpu)):
        raise RuntimeError(
            f"target is {options.target}, but tensorrt builds only for the GPU it runs on "
            f"({_describe(gpu)}); build there, or ahead with --flavour tensorrt_rtx"
        )
    return options.target


def _describe(gpu: Gpu | None) -> str:
    return f"{gpu.name}, {gpu.capability[0]}.{gpu.capability[1]}" if gpu else "there is none here"
