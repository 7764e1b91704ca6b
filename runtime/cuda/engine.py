"""A TensorRT plan as the backbone on the device: TensorRT 10 and 11, and TensorRT-RTX.

TensorRT cannot tell in advance if a plan fits, and loading one that does not can end the process. So the
build writes a record beside the plan, <name>.engine.json, and everything is compared before TensorRT is
imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
import traceback
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import ALIGNMENT, Device
from spcnet.runtime.cuda.engine_log import create, error_log
from spcnet.runtime.cuda.engine_record import PLATFORM, REBUILD, EngineRecord
from spcnet.runtime.model import INPUT, OUTPUT, ModelError

MAGICS = (b"ftrt", b"vtrt")  # of TensorRT; of TensorRT-RTX (seen in 1.4 and 1.7)


def open_engine(
    path: Path, device: Device, *, allow_host_code: bool = False
) -> tuple[TrackerConfig, EngineBackbone, bytes | None]:
    """The configuration of an engine, its backbone on the device, whose context is current, and its head.

    A version-compatible plan contains CPU code: allow_host_code loads it, if you trust its source. Raises
    FileNotFoundError, or ModelError if the plan was changed, is not for this machine or does not load.
    """
    sidecar = path.with_name(f"{path.name}.json")
    if not path.is_file():
        raise FileNotFoundError(f"no engine {path}; give its path, or build one: spcnet build MODEL.onnx")
    if not sidecar.is_file():
        raise ModelError(f"{path} lacks {sidecar.name}, which says what it was built for; {REBUILD}")
    try:
        record = EngineRecord.from_json(sidecar.read_text("utf-8", "replace"))
    except ValueError as error:
        raise ModelError(f"{sidecar} {error}; {REBUILD}") from None
    plan = path.read_bytes()
    if len(plan) < 28 or plan[:4] not in MAGICS:
        raise ModelError(f"{path} is no TensorRT plan: it begins with {plan[:4]!r}; {REBUILD}")
    _refuse(path, record, _compare(record, plan, device))
    if record.host_code and not allow_host_code:
        raise ModelError(
            f"{path} is version-compatible: loading it runs CPU code that it contains; pass "
            "allow_host_code=True if you "
            f"trust its source, else {REBUILD}"
        )
    try:
        trt = importlib.import_module(record.flavour)
    except Exception as error:  # the loader raises types of its own
        raise ModelError(f"{path} needs {record.flavour}, which does not import: {error}") from None
    _refuse(path, record, [_package(record, {str(trt.__version__)})])
    return record.config, EngineBackbone(path, device, record, plan, trt), record.regression


Row = tuple[str, str, str, bool]  # thing, expected, found, acceptable


def _compare(record: EngineRecord, plan: bytes, device: Device) -> list[Row]:
    sha256, capability = hashlib.sha256(plan).hexdigest(), "{}.{}".format(*device.compute_capability)
    # As TensorRT's samples read it: in serialization version 0, a byte for each number of the version.
    told = list(plan[24:28]) if plan[4:8] == bytes(4) else []
    same = all((a - int(b)) % 256 == 0 for a, b in zip(told, record.version.split("."), strict=False))
    installed = set()
    for suffix in ("", "-cu11", "-cu12", "-cu13"):  # JetPack's package has none
        with contextlib.suppress(PackageNotFoundError):
            installed.add(version(record.flavour.replace("_", "-") + suffix))
    return [
        ("SHA-256 of the plan", record.plan_sha256, sha256, sha256 == record.plan_sha256),
        ("version in the plan", record.version, ".".join(map(str, told)), same),
        _package(record, installed),
        ("compute capability", record.capabilities, capability, record.runs_on(device.compute_capability)),
        (
            "GPU",
            record.gpu,
            device.name,
            not record.gpu or record.hardware != "exact" or record.gpu == device.name,
        ),
        ("platform", record.platform, PLATFORM, record.platform == PLATFORM),
    ]


def _package(record: EngineRecord, found: set[str]) -> Row:
    """Compare the installed versions; without package records, the imported module is asked later."""
    needed = f"{record.flavour} {record.version}{' or later' if record.host_code else ''}"
    if not found:
        return "package", needed, "not installed", find_spec(record.flavour) is not None
    pairs = [_common(one, record.version) for one in found]
    fits = all(a == b or (record.host_code and a > b) for a, b in pairs)
    return "package", needed, " and ".join(sorted(found)), fits


def _common(one: str, other: str) -> tuple[list[int], list[int]]:
    """Two versions as numbers, to their common length: the fourth number is not always known."""
    a, b = ([int(number) for number in re.findall("[0-9]+", text)[:4]] for text in (one, other))
    return a[: len(b)], b[: len(a)]


def _refuse(path: Path, record: EngineRecord, rows: list[Row]) -> None:
    table = [("", "expected", "found"), *(row[:3] for row in rows if not row[3])]
    if len(table) > 1:
        width = max(len(expected) for _, expected, _ in table)
        lines = "\n".join(f"  {thing:<19}  {expected:<{width}}  {found}" for thing, expected, found in table)
        raise ModelError(f"{path} does not fit this machine, or was changed:\n{lines}\n{record.rebuild}")


class EngineBackbone:
    """A loaded plan, with one execution context for each number of patches, on shared scratch memory.

    The shape of a context is set once, so a CUDA graph recorded from it stays valid when other numbers come
    between.
    """

    def __init__(self, path: Path, device: Device, record: EngineRecord, plan: bytes, trt: Any) -> None:
        self.name = f"{record.flavour} {record.version}, {record.precision.upper()}"
        self.max_images = record.max_patches
        self._few = min(record.config.scales, record.config.learn_scales)  # patches of one target
        self._path, self._device, self._record, self._trt = path, device, record, trt
        self._errors, logger = error_log(trt)
        self._errors.clear()
        self._contexts: dict[int, tuple[Any, dict[str, int]]] = {}  # and the addresses they know
        self._engine: Any = None
        self._runtime: Any = None
        self._memory = 0
        try:
            self._runtime = create(trt.Runtime, logger)
            if record.host_code:
                self._runtime.engine_host_code_allowed = True
            if record.dla is not None:
                self._runtime.DLA_core = record.dla  # the default is core 0, whatever it was built for
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise ModelError(f"{path} does not load ({self._reason()}); {REBUILD}")
            self._check()
            self._scratch = max(int(self._engine.device_memory_size_v2), 1)
            self._memory = device.allocate(self._scratch)
            self.capturable = self._ask_capturable()
        except BaseException as error:
            traceback.clear_frames(
                error.__traceback__
            )  # they may hold a context, which must be destroyed first
            self.close()
            raise

    def _ask_capturable(self) -> bool:
        context, _ = self._context(self._few)
        if self._record.dla is not None:
            return False
        ask = getattr(context, "is_stream_capturable", None)  # only TensorRT-RTX tells
        return ask is None or bool(ask(self._device.stream))

    def _check(self) -> None:
        config, engine = self._record.config, self._engine
        n, few = config.patch_size, self._few
        needed = [
            f"{INPUT} INPUT FLOAT LINEAR {(3, n, n)}",
            f"{OUTPUT} OUTPUT FLOAT LINEAR {(config.channels, config.grid, config.grid)}",
        ]
        found = []
        for tensor in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            asked = engine.get_tensor_mode, engine.get_tensor_dtype, engine.get_tensor_format
            kinds = " ".join(ask(tensor).name for ask in asked)
            found.append(f"{tensor} {kinds} {tuple(engine.get_tensor_shape(tensor))[1:]}")
        if sorted(found) != sorted(needed):
            raise ModelError(f"{self._path} has the tensors {found}, needed are {needed}; {REBUILD}")
        least, _, most = (next(iter(shape)) for shape in engine.get_tensor_profile_shape(INPUT, 0))
        if least > few or most < self.max_images:
            raise ModelError(
                f"{self._path} takes {least} to {most} patches, needed are {few} to {self.max_images}; "
                f"{REBUILD}"
            )

    def _context(self, images: int) -> tuple[Any, dict[str, int]]:
        if images not in self._contexts:
            if not 1 <= images <= self.max_images:
                raise ValueError(
                    f"{images} patches at once, but {self._path} takes 1 to {self.max_images}; track fewer "
                    "targets, or build it for more: spcnet build MODEL.onnx"
                )
            options: Any = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
            if self._record.flavour == "tensorrt_rtx":
                # The default compiles kernels in the background: a graph would keep the preliminary ones.
                strategy, options = options, self._engine.create_runtime_config()
                options.set_execution_context_allocation_strategy(strategy)
                eager = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
                options.dynamic_shapes_kernel_specialization_strategy = eager
            context = self._engine.create_execution_context(options)
            self._demand(context is not None, "create_execution_context")
            context.set_device_memory(self._memory, self._scratch)
            n = self._record.config.patch_size
            self._demand(context.set_input_shape(INPUT, (images, 3, n, n)), "set_input_shape")
            self._contexts[images] = context, {}
        return self._contexts[images]

    def reserve(self, images: int, size: int) -> None:
        """Prepare for so many patches. Raises ValueError if the engine does not take them."""
        if size != self._record.config.patch_size:
            raise ValueError(
                f"patches have {size} pixels; {self._path} takes {self._record.config.patch_size}"
            )
        self._context(images)

    def enqueue(self, patches: int, features: int, images: int) -> None:
        """See DeviceBackbone. Raises RuntimeError if TensorRT refuses."""
        context, addresses = self._context(images)
        for name, address in ((INPUT, patches), (OUTPUT, features)):
            if addresses.get(name) != address:
                if address % ALIGNMENT:
                    raise ValueError(f"{name} is at address {address}, needed is a multiple of {ALIGNMENT}")
                self._demand(context.set_tensor_address(name, address), "set_tensor_address")
                addresses[name] = address
        self._demand(context.execute_async_v3(self._device.stream), "execute_async_v3")

    def _demand(self, done: bool, call: str) -> None:
        if not done:
            raise RuntimeError(f"{self._path}: {call} failed ({self._reason()}); {REBUILD}")

    def _reason(self) -> str:
        reason = "; ".join(self._errors) or "it gives no reason"
        self._errors.clear()
        return reason

    def close(self) -> None:
        """Destroy the contexts, the engine and the runtime, in this order; the logger stays."""
        self._contexts.clear()
        self._engine = None
        self._runtime = None
        if self._memory:
            self._device.free(self._memory)
            self._memory = 0
