"""Build TensorRT engines from ONNX, by tensorrt 10, tensorrt 11 or tensorrt_rtx, with a record beside each.

An engine is bound to its TensorRT, its GPU and its platform, so tensorrt builds on the device it is for.
tensorrt_rtx also builds ahead, for GPUs that are not here. The precision is that of the graph.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import logging
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spcnet.export.build_options import FLAVOURS, BuildOptions, planned
from spcnet.export.build_progress import interruptible
from spcnet.export.timing_cache import timing_cache
from spcnet.runtime import model
from spcnet.runtime.cuda.available import Gpu, ask_driver, missing
from spcnet.runtime.cuda.engine_log import create, error_log
from spcnet.runtime.cuda.engine_record import EngineRecord
from spcnet.runtime.cuda.images import sidecar
from spcnet.runtime.files import replacing, write_bytes
from spcnet.runtime.model import INPUT, Model

OLDEST = (10, 1)  # the first whose contexts take their memory as the runtime gives it
WEAK_FALLBACK = (10, 12)  # before it, strong typing is not complete: NVIDIA says to use it from here on
DEFAULT_WORKSPACE = 1024  # MiB; without a limit the builder of a small Jetson is killed for its memory

_log = logging.getLogger("spcnet")


def build_engine(
    source: Path,
    target: Path,
    options: BuildOptions | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> tuple[EngineRecord, bool]:
    """Build the engine of a model at target, and its record at target.json.

    Returns the record, and whether anything had to be built: an engine of the same model, machine and options
    is left alone. on_progress is called with the share that is done, 0 to 1; what it raises ends the build.
    Where the GPU is here, the engine's features are compared with ONNX Runtime's first. A failed or
    interrupted build leaves target as it was. Raises FileNotFoundError, ValueError, RuntimeError, OSError.
    """
    options = options or BuildOptions()
    found = model.load(source)
    trt = _package(options.flavour)
    gpu = _gpu()
    record = planned(found, options, trt, gpu)
    if up_to_date(target, record):
        return EngineRecord.from_json(sidecar(target).read_text()), False
    attempt = functools.partial(_attempt, found.path.read_bytes(), record, options, trt, gpu, on_progress)
    plan, strong = _build(attempt, record)
    record = dataclasses.replace(record, plan_sha256=hashlib.sha256(plan).hexdigest(), strongly_typed=strong)
    if gpu is not None and record.gpu:
        record = dataclasses.replace(record, parity=_compare(plan, record, target.name, found))
    with replacing(sidecar(target)) as note:
        note.write_text(record.to_json())
        write_bytes(target, plan)  # until the record follows, the pair does not fit, and is refused as such
    on_progress(1.0)
    return record, True


def up_to_date(target: Path, record: EngineRecord) -> bool:
    """Whether the engine at target is what a build for this record would give, and whole."""
    try:
        there = EngineRecord.from_json(sidecar(target).read_text())
        whole = hashlib.sha256(target.read_bytes()).hexdigest() == there.plan_sha256
    except (OSError, ValueError):
        return False
    outcome = {name: getattr(there, name) for name in ("plan_sha256", "strongly_typed", "parity")}
    return whole and there == dataclasses.replace(record, **outcome)


def _compare(plan: bytes, record: EngineRecord, name: str, found: Model) -> float | None:
    """Relative error of an engine's features against ONNX Runtime's, on real patches.

    None where the engine cannot run. Raises RuntimeError above the tolerance of the model's precision.
    """
    if lacking := missing():
        _log.warning("%s is not compared with ONNX Runtime: %s", name, lacking)
        return None
    from spcnet.export.parity import real_patches, relative_error
    from spcnet.export.subjects import from_model, on_device
    from spcnet.export.tolerances import TOLERANCES
    from spcnet.runtime.cuda.engine import open_engine
    from spcnet.runtime.cuda.open import open_device

    reference = from_model(found.path, found.path.name)
    patches = real_patches(found.config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(plan)
        sidecar(path).write_text(record.to_json())
        engine = on_device(
            name,
            open_device,
            lambda device: open_engine(path, device, allow_host_code=True),
            lambda: reference.precision,
        )
        error = relative_error(engine.layers(patches)["features"], reference.layers(patches)["features"])
    allowed = TOLERANCES[reference.precision].layers
    if not error <= allowed:  # NaN fails
        raise RuntimeError(
            f"the engine of {found.path.name} is not equal to it: its features are {error:.1e} off, allowed "
            f"is {allowed:.0e}; keep to the ONNX model, or try another --level"
        )
    return error


def package_missing(flavour: str | None = None) -> str:
    """Why no engine can be built with the package (or any of FLAVOURS), in one sentence; empty if one can."""
    if any(find_spec(name) is not None for name in ((flavour,) if flavour else FLAVOURS)):
        return ""
    return (
        f"the package {flavour or 'tensorrt'} is not installed; on a Jetson it comes with JetPack "
        "(python3-libnvinfer; "
        "make the virtual environment with --system-site-packages), elsewhere pip install tensorrt or "
        "tensorrt-rtx-cu13"
    )


def _package(flavour: str | None) -> Any:
    """The module of TensorRT. Raises RuntimeError when there is none."""
    if lacking := package_missing(flavour):
        raise RuntimeError(lacking)
    name = next(name for name in ((flavour,) if flavour else FLAVOURS) if find_spec(name) is not None)
    try:
        trt = importlib.import_module(name)
    except Exception as error:  # also kinds of the loader's own
        raise RuntimeError(f"{name} does not import ({error}); install it again") from None
    if name == "tensorrt" and _numbers(trt.__version__) < OLDEST:
        raise RuntimeError(
            f"tensorrt is {trt.__version__}, needed is {'.'.join(map(str, OLDEST))} or later; update it"
        )
    return trt


def _gpu() -> Gpu | None:
    driver = ask_driver()
    return driver.gpus[0] if driver and driver.gpus else None


def _build(attempt: Callable[[bool], tuple[bytes | None, str]], record: EngineRecord) -> tuple[bytes, bool]:
    """The plan, and whether it is strongly typed. attempt takes whether it shall be."""
    plan, reason = attempt(True)
    weak = record.flavour == "tensorrt" and _numbers(record.version) < WEAK_FALLBACK
    if plan is None and weak and record.precision != "fp32":
        _log.warning(
            "%s %s does not build the strongly typed network (%s); building it with the flag of %s instead",
            record.flavour, record.version, reason, record.precision,
        )  # fmt: skip
        plan, reason = attempt(False)
        if plan is not None:
            return plan, False
    if plan is None:
        raise RuntimeError(
            f"{record.flavour} {record.version} did not build the engine ({reason}); try --workspace or "
            "--level, or free memory"
        )
    return plan, True


def _numbers(version: str) -> tuple[int, ...]:
    """10.3.0.post1 is (10, 3)."""
    return tuple(int(number) for number in version.split(".")[:2])


def _attempt(
    onnx: bytes,
    record: EngineRecord,
    options: BuildOptions,
    trt: Any,
    gpu: Gpu | None,
    on_progress: Callable[[float], None],
    strong: bool,
) -> tuple[bytes | None, str]:
    """The plan, or None and why."""
    errors, logger = error_log(trt)
    errors.clear()
    builder = create(trt.Builder, logger)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(1 << int(flag) if strong and flag is not None else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        said = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        return None, said or "; ".join(errors)
    config = builder.create_builder_config()
    _configure(config, builder, record, options, trt)
    if not strong:
        config.set_flag(getattr(trt.BuilderFlag, record.precision.upper()))
    profile = builder.create_optimization_profile()
    few, n = record.min_patches, record.config.patch_size
    shapes = [(count, 3, n, n) for count in (few, few, record.max_patches)]
    profile.set_shape(INPUT, *shapes)
    config.add_optimization_profile(profile)
    with timing_cache(config, record, gpu), interruptible(trt, config, on_progress):
        plan = builder.build_serialized_network(network, config)
    reason = "; ".join(errors) or "it gives no reason"
    return (None if plan is None else bytes(plan)), reason


def _configure(config: Any, builder: Any, record: EngineRecord, options: BuildOptions, trt: Any) -> None:
    flags = trt.BuilderFlag
    config.clear_flag(flags.TF32)  # 10 bits of mantissa: FP32 would not be FP32
    config.builder_optimization_level = options.level
    workspace = options.workspace or (DEFAULT_WORKSPACE if record.flavour == "tensorrt" else None)
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace << 20)
    if options.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if options.hardware != "exact":
        level = getattr(trt.HardwareCompatibilityLevel, options.hardware.upper(), None)
        if level is None:
            raise RuntimeError(
                f"{record.flavour} {record.version} does not know hardware {options.hardware!r}; build for "
                "exact, or install a newer one"
            )
        config.hardware_compatibility_level = level
    if options.dla is not None:
        if options.dla >= builder.num_DLA_cores:
            raise ValueError(f"dla is {options.dla}, but this machine has {builder.num_DLA_cores} DLA cores")
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla
        config.set_flag(flags.GPU_FALLBACK)  # for the normalisation
    if record.flavour == "tensorrt_rtx":
        config.set_flag(flags.REQUIRE_USER_ALLOCATION)  # else the plan cannot be part of a CUDA graph
        if not record.gpu:
            name = "SM" + record.compute_capability[0].replace(".", "")
            capability = getattr(trt.ComputeCapability, name, None)
            if capability is None:
                known = sorted(k for k in trt.ComputeCapability.__members__ if k.startswith("SM"))
                raise ValueError(
                    f"tensorrt_rtx {record.version} does not build for {name}; it has {', '.join(known)}"
                )
            config.num_compute_capabilities = 1
            config.set_compute_capability(capability, 0)
