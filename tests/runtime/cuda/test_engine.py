"""Engines up to the point where TensorRT reads the plan, on real files; after it, on a double that records.

Nothing here shows that TensorRT takes a plan or computes well: that takes a GPU.
"""

import ctypes
import dataclasses
import enum
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import sys
import types
from importlib.machinery import PathFinder

import numpy as np
import pytest
from emulator.host_device import HostDevice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs import needs

from spcnet.benchmarks.metrics import iou
from spcnet.runtime import MultiTracker, Tracker, TrackerConfig, model
from spcnet.runtime.cuda import engine
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.engine import EngineBackbone, open_engine
from spcnet.runtime.cuda.engine_record import PLATFORM, EngineRecord
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.features import OnnxBackbone
from spcnet.runtime.model import ModelError

VERSION = "10.3.0.30"
HEADER = b"ftrt" + bytes(20) + bytes([10, 3, 0, 30])
RTX_HEADERS = {  # of plans that these versions of tensorrt-rtx-cu13 built
    "1.4.0.76": "76747274000000000200000000000000 2cb4070000000000 0104004c",
    "1.7.1.116": "76747274000000000200000000000000 94eb070000000000 01070174",
}
REBUILD = "spcnet build MODEL.onnx"
CONFIG = TrackerConfig(patch_size=49, channels=4, interp_factor=0.02)  # of tiny_model


class RecordedTensorRT(types.ModuleType):
    """not TensorRT: it records the calls, and computes with a given function.

    It is as strict as TensorRT is said to be: a shape outside the profile is refused, work cannot be recorded
    in a graph before it ran once in that shape, and whatever is destroyed before what depends on it is noticed.
    """

    __version__ = VERSION

    class ILogger:
        class Severity(enum.Enum):
            INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    TensorIOMode = enum.Enum("TensorIOMode", "NONE INPUT OUTPUT")
    DataType = enum.Enum("DataType", "FLOAT HALF INT8")
    TensorFormat = enum.Enum("TensorFormat", "LINEAR CHW32")
    ExecutionContextAllocationStrategy = enum.Enum("Strategy", "STATIC ON_PROFILE_CHANGE USER_MANAGED")
    DynamicShapesKernelSpecializationStrategy = enum.Enum("Specialization", "LAZY EAGER NONE")

    def __init__(self, device=None, compute=None, profile=(1, 3, 96), name="tensorrt"):
        super().__init__(name)
        self.device, self.compute, self.profile = device, compute, profile
        self.calls = []  # (name, arguments)
        self.alive = []  # "runtime", "engine", "context"
        self.refused = set()  # calls that fail from now on
        self.capturable = None  # what is_stream_capturable says, where there is one
        n, c = CONFIG.patch_size, CONFIG.channels
        self.tensors = {
            "patches": ["INPUT", "FLOAT", "LINEAR", (-1, 3, n, n)],
            "features": ["OUTPUT", "FLOAT", "LINEAR", (-1, c, n, n)],
        }
        self.Runtime = lambda logger: RecordedRuntime(self, logger)

    def say(self, severity, message):
        self.logger.log(self.ILogger.Severity[severity], message)

    def record(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name in self.refused:
            self.say("ERROR", f"{name} is out of order")
        return name not in self.refused

    def count(self, name):
        return sum(call[0] == name for call in self.calls)

    def born(self, kind):
        self.alive.append(kind)

    def dies(self, kind):
        self.calls.append(("~" + kind,))
        self.alive.remove(kind)


class RecordedRuntime:
    def __init__(self, trt, logger):
        assert isinstance(logger, trt.ILogger)
        self.trt, trt.logger = trt, logger
        self.engine_host_code_allowed = False
        trt.born("runtime")

    def __del__(self):
        self.trt.dies("runtime")

    def deserialize_cuda_engine(self, plan):
        if self.trt.record("deserialize_cuda_engine", len(plan), self.engine_host_code_allowed):
            return RecordedEngine(self.trt)
        return None


class RecordedEngine:
    device_memory_size_v2 = 1000

    def __init__(self, trt):
        self.trt = trt
        self.num_io_tensors = len(trt.tensors)
        trt.born("engine")

    def __del__(self):
        self.trt.dies("engine")

    def get_tensor_name(self, index):
        return list(self.trt.tensors)[index]

    def get_tensor_mode(self, name):
        return self.trt.TensorIOMode[self.trt.tensors[name][0]]

    def get_tensor_dtype(self, name):
        return self.trt.DataType[self.trt.tensors[name][1]]

    def get_tensor_format(self, name):
        return self.trt.TensorFormat[self.trt.tensors[name][2]]

    def get_tensor_shape(self, name):
        return self.trt.tensors[name][3]

    def get_tensor_profile_shape(self, name, index):
        assert (name, index) == ("patches", 0)
        return [(count, *self.trt.tensors[name][3][1:]) for count in self.trt.profile]

    def create_runtime_config(self):
        return RecordedConfig()

    def create_execution_context(self, options):
        if isinstance(options, RecordedConfig):
            specialization = options.dynamic_shapes_kernel_specialization_strategy
            assert specialization is self.trt.DynamicShapesKernelSpecializationStrategy.EAGER
            options = options.strategy
        assert options is self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return RecordedContext(self.trt) if self.trt.record("create_execution_context") else None


class RecordedConfig:
    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy


class RecordedContext:
    def __init__(self, trt):
        self.trt, self.shape, self.addresses, self.flushed = trt, None, {}, False
        if trt.capturable is not None:
            self.is_stream_capturable = lambda stream: trt.capturable
        trt.born("context")

    def __del__(self):
        self.trt.dies("context")

    @property
    def recording(self):
        return self.trt.device._recording

    def set_device_memory(self, memory, size):
        assert memory % 256 == 0 and memory in self.trt.device._live
        assert size >= RecordedEngine.device_memory_size_v2

    def set_input_shape(self, name, shape):
        assert name == "patches" and self.recording is None
        least, _, most = self.trt.profile
        self.shape = shape
        return self.trt.record("set_input_shape", shape) and least <= shape[0] <= most

    def set_tensor_address(self, name, address):
        assert address % 256 == 0 and self.recording is None
        self.addresses[name] = address
        return self.trt.record("set_tensor_address", name, address)

    def execute_async_v3(self, stream):
        if not self.trt.record("execute_async_v3", stream, self.recording is not None):
            return False
        shape, addresses, compute = self.shape, dict(self.addresses), self.trt.compute
        if self.recording is None:
            self.flushed = True
            compute(addresses["patches"], addresses["features"], shape)
        elif self.flushed and "capture" not in self.trt.refused:
            self.recording.append(lambda: compute(addresses["patches"], addresses["features"], shape))
        else:
            return False
        return True


def view(address, shape):
    """The emulated device's memory as an array."""
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), shape)


def by_onnxruntime(path):
    """What the double computes with: the model itself."""
    backbone = OnnxBackbone(model.load(path)[1])

    def compute(patches, features, shape):
        images, _, n, _ = shape
        backbone(view(patches, shape), view(features, (images, CONFIG.channels, n, n)))

    return compute


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """The only folder where TensorRT may be installed, whatever this machine has."""
    folder = tmp_path / "site"
    folder.mkdir()

    def version(name):
        for found in importlib.metadata.distributions(name=name, path=[str(folder)]):
            return found.version
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(engine, "version", version)
    monkeypatch.setattr(engine, "find_spec", lambda name: PathFinder.find_spec(name, [str(folder)]))
    monkeypatch.syspath_prepend(folder)
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)  # which is put back in the end
        del sys.modules[name]
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    """Make a package look installed, and its module importable."""

    def install(trt=None, name="tensorrt", version="10.3.0"):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        importlib.invalidate_caches()
        if trt is not None:
            monkeypatch.setitem(sys.modules, trt.__name__, trt)

    return install


@pytest.fixture
def build(tmp_path):
    """A plan of no use, and its sidecar, as spcnet build leaves them."""

    def make(plan=HEADER + b"the rest", **changes):
        path = tmp_path / "tiny.engine"
        path.write_bytes(plan)
        values = {
            "flavour": "tensorrt",
            "version": VERSION,
            "compute_capability": ("8.7",),
            "gpu": "Orin",
            "platform": PLATFORM,
            "precision": "fp16",
            "max_patches": 96,
            "plan_sha256": hashlib.sha256(plan).hexdigest(),
            "onnx_sha256": "0" * 64,
            "host_code": False,
            "config": CONFIG,
        }
        record = EngineRecord(**{**values, **changes})
        path.with_name("tiny.engine.json").write_text(record.to_json())
        return path

    return make


@pytest.fixture
def device():
    device = HostDevice()
    yield device
    device.close()  # nothing was left


def refusal(path, device, **options):
    with pytest.raises(ModelError) as caught:
        open_engine(path, device, **options)
    return str(caught.value)


def test_the_record_survives_json(build):
    text = build(compute_capability=("8.6", "8.9"), gpu="").with_name("tiny.engine.json").read_text()
    record = EngineRecord.from_json(text)
    assert record.compute_capability == ("8.6", "8.9") and record.config == CONFIG
    assert record.to_json() == text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flavour", "tensorrt_lean"),
        ("version", "10.3"),
        ("version", "ten"),
        ("compute_capability", ()),
        ("compute_capability", "8.7"),
        ("compute_capability", (8.7,)),
        ("platform", ""),
        ("precision", "int4"),
        ("max_patches", 0),
        ("max_patches", 1.0),
        ("max_patches", True),
        ("plan_sha256", "0" * 63),
        ("host_code", 0),
        ("gpu", None),
    ],
)
def test_a_bad_value_is_refused_by_name(build, field, value):
    record = EngineRecord.from_json(build().with_name("tiny.engine.json").read_text())
    with pytest.raises(ValueError, match=f"^{field} is .*, needed is "):
        dataclasses.replace(record, **{field: value})


def test_a_missing_plan_or_sidecar_is_refused(build, device, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no engine .*none.engine; give its path, or build one"):
        open_engine(tmp_path / "none.engine", device)
    path = build()
    path.with_name("tiny.engine.json").unlink()
    assert "tiny.engine lacks tiny.engine.json, which says" in refusal(path, device)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[:100], "is cut off, or no JSON"),
        (lambda text: "", "is cut off, or no JSON"),
        (lambda text: "[" * 100_000, "is cut off, or no JSON"),
        (lambda text: "[]", "has format None, needed is 'spcnet-engine-1'"),
        (lambda text: text.replace("engine-1", "engine-2"), "has format 'spcnet-engine-2', needed"),
        (lambda text: text.replace('"gpu"', '"cpu"'), "was edited: key 'cpu' is missing or unknown"),
        (lambda text: text.replace("fp16", "fp17"), "was edited: precision is"),
        (lambda text: text.replace('"scales": 3', '"scales": 4'), "was edited: scales is 4"),
        (lambda text: text.replace('"scales": 3', '"scales": "3"'), "was edited: scales is '3'"),
        (lambda text: text.replace('"scale_step": 1.02', f'"scale_step": 1{"0" * 400}'), "was edited: "),
        (
            lambda text: text.replace('"config": {', '"config": {"threads": 1, '),
            "was edited: unknown tracker",
        ),
    ],
)
def test_a_spoilt_sidecar_is_refused_in_one_sentence(build, device, change, reason):
    path = build()
    sidecar = path.with_name("tiny.engine.json")
    sidecar.write_text(change(sidecar.read_text()))
    message = refusal(path, device)
    assert f"tiny.engine.json {reason}" in message
    assert message.endswith(REBUILD) and "\n" not in message


def test_a_plan_of_something_else_is_refused(build, device):
    for plan in (b"", HEADER[:27], b"PK\3\4" + HEADER[4:]):
        assert "is no TensorRT plan: it begins with" in refusal(build(plan), device)


def test_every_difference_stands_in_the_table(build, device, installed):
    installed(version="10.16.1")
    path = build(compute_capability=("8.6", "8.9"), platform="plan9-mips")
    path.write_bytes(HEADER[:26] + b"\1" + HEADER[27:])
    message = refusal(path, device)
    lines = [line.split(None, 4) for line in message.splitlines()[2:-1]]
    assert message.splitlines()[0].endswith("does not fit this machine, or was changed:")
    assert message.splitlines()[1].split() == ["expected", "found"]
    assert [" ".join(line[:2]) for line in lines] == [
        "SHA-256 of",
        "version in",
        "package tensorrt",
        "compute capability",
        "platform plan9-mips",
    ]
    for words in ("10.3.0.30  ", "10.3.1.30", "10.16.1", "8.6 or 8.9", "8.7", "plan9-mips", PLATFORM):
        assert words in message
    assert message.endswith("\nbuild it again on this machine: " + REBUILD)


def test_only_what_differs_stands_in_the_table(build, device, installed):
    installed()
    message = refusal(build(platform="plan9-mips"), device)
    assert "plan9-mips" in message and "SHA" not in message and "package" not in message


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({}, "not installed"),
        ({"tensorrt": "10.3.0"}, None),  # JetPack
        ({"tensorrt": "10.3.0.30"}, None),
        ({"tensorrt_cu12": "10.3.0"}, None),
        ({"tensorrt_cu13": "10.3.0.31"}, "10.3.0.31"),
        ({"tensorrt_cu12": "10.3.0", "tensorrt_cu13": "11.4.0.106"}, "10.3.0 and 11.4.0.106"),
        ({"tensorrt_lean": "10.3.0", "tensorrt_rtx": "10.3.0"}, "not installed"),
    ],
)
def test_the_package_is_known_by_any_of_its_names(build, device, installed, names, found):
    for name, version in names.items():
        installed(name=name, version=version)
    message = refusal(build(platform="plan9-mips"), device)  # so that it ends here
    line = next((line for line in message.splitlines() if line.strip().startswith("package")), None)
    assert (line is None) == (found is None)
    assert found is None or line.split("  ")[-1] == found


@pytest.mark.parametrize("version", RTX_HEADERS)
def test_headers_of_tensorrt_rtx_are_read(build, device, installed, version):
    plan = bytes.fromhex(RTX_HEADERS[version])
    installed(name="tensorrt_rtx_cu13", version=version)
    rtx = {"flavour": "tensorrt_rtx", "platform": "plan9-mips"}
    assert "version in" not in refusal(build(plan, version=version, **rtx), device)
    message = refusal(build(plan, version="1.5.0.114", **rtx), device)
    assert f"version in the plan  1.5.0.114               {version}" in message


def test_a_header_of_another_layout_is_left_to_tensorrt(build, device, installed):
    installed()
    plan = b"ftrt\1" + HEADER[5:24] + b"\1\2\3\4"
    assert "version in" not in refusal(build(plan, platform="plan9-mips"), device)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9)) | st.binary(max_size=300), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_no_sidecar_does_worse_than_a_refusal(build, rubbish, data):
    path = build(platform="plan9-mips")
    sidecar = path.with_name("tiny.engine.json")
    values = json.loads(sidecar.read_text())
    if isinstance(rubbish, bytes):
        text = sidecar.read_bytes()
        at = data.draw(st.integers(0, len(text)))
        sidecar.write_bytes(text[:at] + rubbish + text[at + len(rubbish) :])
    else:
        leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        anything = leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=5), leaves)
        holder = data.draw(st.sampled_from([values, values["config"]]))
        holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(anything)
        sidecar.write_text(json.dumps({**values, **rubbish}))
    with pytest.raises(ModelError):
        open_engine(path, HostDevice())


@given(st.binary(max_size=40), st.integers(0, 28), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_header_does_worse_than_a_refusal(build, rubbish, at, noticed):
    path = build(platform="plan9-mips")
    plan = HEADER[:at] + rubbish + HEADER[at + len(rubbish) :]
    path.write_bytes(plan)
    if noticed:
        path = build(plan, platform="plan9-mips")  # with its hash in the sidecar
    with pytest.raises(ModelError):
        open_engine(path, HostDevice())


def test_host_code_is_loaded_only_when_it_is_allowed(build, device, installed):
    trt = RecordedTensorRT(device)
    installed(trt)
    path = build(host_code=True)
    assert "pass allow_host_code=True if you trust its source" in refusal(path, device)
    assert not trt.calls
    open_engine(path, device, allow_host_code=True)[1].close()
    assert trt.calls[0] == ("deserialize_cuda_engine", len(path.read_bytes()), True)
    open_engine(build(), device, allow_host_code=True)[1].close()
    assert trt.calls[-1] == ("~runtime",) and ("deserialize_cuda_engine", 36, False) in trt.calls


def test_host_code_runs_in_later_versions_and_not_in_earlier_ones(build, device, installed):
    trt = RecordedTensorRT(device)
    installed(trt, version="11.0.0.1")
    trt.__version__ = "11.0.0.1"
    open_engine(build(host_code=True), device, allow_host_code=True)[1].close()
    newer = build(HEADER[:24] + b"\x0b\x01\x00\x01", host_code=True, version="11.1.0.1")
    message = refusal(newer, device, allow_host_code=True)
    assert "tensorrt 11.1.0.1 or later  11.0.0.1" in message


def test_a_module_of_another_version_than_its_package_is_refused(build, device, installed):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.__version__ = "10.3.1"
    assert "tensorrt 10.3.0.30  10.3.1" in refusal(build(), device)
    assert not trt.calls


def test_a_module_without_a_package_is_asked_itself(build, device, site):
    (site / "tensorrt.py").write_text("__version__ = '9.9.9'")
    assert "package              tensorrt 10.3.0.30  9.9.9" in refusal(build(), device)


def test_a_module_that_does_not_import_is_refused(build, device, installed, site):
    installed()
    (site / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: no such file')")
    assert "tensorrt, which does not import: libnvinfer.so.10: no such file" in refusal(build(), device)


def test_a_plan_that_does_not_load_says_why(build, device, installed, caplog):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.refused.add("deserialize_cuda_engine")
    message = refusal(build(), device)
    assert message.endswith(f"does not load (deserialize_cuda_engine is out of order); {engine.REBUILD}")
    assert not trt.alive
    assert ("spcnet", logging.ERROR, "deserialize_cuda_engine is out of order") in caplog.record_tuples
    trt.say("WARNING", "take care")
    trt.say("INFO", "nothing")
    assert caplog.record_tuples[-1] == ("spcnet", logging.WARNING, "take care")


@pytest.mark.parametrize(
    ("tensor", "place", "value"),
    [
        ("patches", 0, "OUTPUT"),
        ("patches", 1, "HALF"),
        ("features", 2, "CHW32"),
        ("patches", 3, (-1, 3, 125, 125)),
        ("features", 3, (-1, 32, 49, 49)),
        ("mask", slice(None), ["INPUT", "FLOAT", "LINEAR", (1,)]),
    ],
)
def test_other_inputs_and_outputs_are_refused(build, device, installed, tensor, place, value):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.tensors.setdefault(tensor, [None] * 4)[place] = value
    message = refusal(build(), device)
    assert "needed are ['patches INPUT FLOAT LINEAR (3, 49, 49)', 'features OUTPUT FLOAT" in message
    assert not trt.alive


@pytest.mark.parametrize("profile", [(1, 3, 95), (4, 4, 96)])
def test_another_profile_is_refused(build, device, installed, profile):
    trt = RecordedTensorRT(device, profile=profile)
    installed(trt)
    message = refusal(build(), device)
    assert f"takes {profile[0]} to {profile[2]} patches, needed are 3 to 96" in message
    assert not trt.alive


@pytest.mark.parametrize("call", ["create_execution_context", "set_input_shape"])
def test_nothing_is_left_of_a_failed_opening(build, device, installed, call):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.refused.add(call)
    with pytest.raises(
        RuntimeError, match=rf"tiny.engine: {call} failed \({call} is out of order\)"
    ) as caught:
        open_engine(build(), device)
    gone = [name for name, *_ in trt.calls if name[0] == "~"]
    assert gone == ["~context", "~engine", "~runtime"][call == "create_execution_context" :]
    assert device.live == 0 and caught  # the error is still held, and what it met is gone


def test_scratch_memory_that_is_not_there(build, installed):
    device = HostDevice(total=100)
    trt = RecordedTensorRT(device)
    installed(trt)
    with pytest.raises(MemoryError):
        open_engine(build(), device)
    assert not trt.alive and device.live == 0


@pytest.fixture
def opened(build, device, installed, tiny_model):
    """A recorded engine that computes, and what is needed to look into it."""
    trt = RecordedTensorRT(device, by_onnxruntime(tiny_model))
    installed(trt)
    config, backbone = open_backbone(str(build()), device, "auto")
    yield trt, config, backbone
    backbone.close()


def test_the_engine_says_what_it_is(opened):
    _, config, backbone = opened
    assert isinstance(backbone, EngineBackbone)
    assert (backbone.name, backbone.capturable, backbone.max_images) == ("tensorrt 10.3.0.30, FP16", True, 96)
    assert config == CONFIG


def test_contexts_then_engine_then_runtime_are_destroyed(opened):
    trt, _, backbone = opened
    backbone.reserve(6, 49)
    backbone.close()
    assert [name for name, *_ in trt.calls][-4:] == ["~context", "~context", "~engine", "~runtime"]
    backbone.close()


def test_shapes_and_addresses_are_set_once(opened, device):
    trt, _, backbone = opened
    a, b, c = (device.allocate(6 * 4 * 49 * 49 * 4) for _ in range(3))
    for images in (3, 6, 3, 6, 3):
        backbone.enqueue(a, b, images)
    assert trt.count("set_input_shape") == 2 and trt.count("set_tensor_address") == 4
    backbone.enqueue(a, c, 3)
    assert trt.calls[-2] == ("set_tensor_address", "features", c)
    assert trt.count("set_tensor_address") == 5 and trt.count("execute_async_v3") == 6
    for address in (a, b, c):
        device.free(address)


def test_what_the_engine_does_not_take_is_refused(opened, device):
    trt, _, backbone = opened
    for images in (0, 97):
        with pytest.raises(ValueError, match=f"{images} patches at once, but .*tiny.engine takes 1 to 96"):
            backbone.reserve(images, 49)
    with pytest.raises(ValueError, match=r"patches have 50 pixels; .*tiny.engine takes 49"):
        backbone.reserve(3, 50)
    with pytest.raises(ValueError, match="patches is at address 1028, needed is a multiple of 256"):
        backbone.enqueue(1028, 2048, 3)
    assert trt.count("execute_async_v3") == 0


@pytest.mark.parametrize("call", ["set_tensor_address", "execute_async_v3"])
def test_a_call_that_fails_is_named_and_tried_again(opened, device, call):
    trt, _, backbone = opened
    patches, features = (device.allocate(3 * 4 * 49 * 49 * 4) for _ in range(2))
    trt.refused.add(call)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=rf"tiny.engine: {call} failed \({call} is out of order\)"):
            backbone.enqueue(patches, features, 3)
    assert trt.count(call) == 2
    trt.refused.clear()
    backbone.enqueue(patches, features, 3)
    for address in (patches, features):
        device.free(address)


def follow(opened, device, tiny_model, video, **options):
    """Track with the engine beside the CPU, and compare; the tracker, to be closed."""
    _, config, backbone = opened
    frames, boxes = video
    tracker = Tracker(CudaBackend(device, config, backbone, **options))
    reference = Tracker.load(tiny_model, backend="cpu")
    for each in (tracker, reference):
        each.init(frames[0], boxes[0])
    for frame in frames[1:]:
        found, expected = tracker.update(frame).box, reference.update(frame).box
        assert iou(np.array([found]), np.array([expected]))[0] > 0.99
    return tracker


@pytest.mark.parametrize("graphs", [True, False])
def test_the_engine_gives_the_boxes_of_the_cpu(opened, device, tiny_model, video, graphs):
    trt = opened[0]
    follow(opened, device, tiny_model, video, graphs=graphs).close()
    assert (("execute_async_v3", device.stream, True) in trt.calls) == graphs
    assert not trt.alive


def test_many_targets_are_tracked_in_graphs_of_several_shapes(opened, device, tiny_model, video):
    trt, config, backbone = opened
    frames, boxes = video
    tracker = MultiTracker(CudaBackend(device, config, backbone))
    reference = MultiTracker.load(tiny_model, backend="cpu")
    for each in (tracker, reference):
        each.add(frames[0], boxes[0])
    for index, frame in enumerate(frames[1:], 1):
        found, expected = tracker.update(frame), reference.update(frame)
        for target in expected:
            pair = np.array([found[target].box]), np.array([expected[target].box])
            assert iou(*pair)[0] > 0.99
        if index == 8:
            for each in (tracker, reference):
                each.add(frame, boxes[index] + [4, 4, 0, 0])
        if index == 14:
            for each in (tracker, reference):
                each.remove(min(expected))
    tracker.close()
    assert {call[1][0] for call in trt.calls if call[0] == "set_input_shape"} == {3, 6}


def test_what_cannot_be_recorded_is_launched(opened, device, tiny_model, video, caplog):
    trt = opened[0]
    trt.refused.add("capture")
    follow(opened, device, tiny_model, video).close()
    assert device.captures == 1
    assert "execute_async_v3 failed (it gives no reason)" in caplog.text


def test_a_frame_that_fails_leaves_the_tracker_usable(opened, device, tiny_model, video):
    trt = opened[0]
    frames, _ = video
    tracker = follow(opened, device, tiny_model, (frames[:2], video[1]), graphs=False)
    trt.refused.add("execute_async_v3")
    with pytest.raises(RuntimeError, match="execute_async_v3 failed"):
        tracker.update(frames[2])
    trt.refused.clear()
    assert iou(np.array([tracker.update(frames[2]).box]), video[1][2:3])[0] > 0.5
    tracker.close()


@pytest.mark.parametrize("capturable", [True, False])
def test_tensorrt_rtx_is_asked_whether_it_can_be_recorded(build, device, installed, capturable):
    trt = RecordedTensorRT(device, name="tensorrt_rtx")
    trt.__version__, trt.capturable = "1.7.1.116", capturable
    installed(trt, "tensorrt_rtx_cu13", "1.7.1.116")
    plan = bytes.fromhex(RTX_HEADERS["1.7.1.116"])
    path = build(plan, flavour="tensorrt_rtx", version="1.7.1.116", compute_capability=("8.6", "8.7"))
    _, backbone = open_engine(path, device)
    assert backbone.capturable is capturable
    backbone.close()


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
def test_the_double_has_no_name_that_the_package_lacks(flavour):
    if flavour == "tensorrt_rtx":
        needs(importlib.util.find_spec(flavour), "tensorrt-rtx-cu13")
    trt = pytest.importorskip(flavour, reason="TensorRT's libraries are not on the package index")
    rtx_only = {"RecordedConfig", "create_runtime_config", "DynamicShapesKernelSpecializationStrategy"}
    for mine, theirs in (
        (RecordedRuntime, trt.Runtime),
        (RecordedEngine, trt.ICudaEngine),
        (RecordedContext, trt.IExecutionContext),
        (RecordedTensorRT, trt),
    ):
        names = {name for name in vars(mine) if not name.startswith("__")} - {"say", "record", "count"}
        names -= {"born", "dies", "recording"} | (rtx_only if flavour == "tensorrt" else set())
        assert not {name for name in names if not hasattr(theirs, name)}, mine
    for name in ("TensorIOMode", "DataType", "TensorFormat"):
        mine = getattr(RecordedTensorRT, name).__members__
        assert set(mine) <= set(getattr(trt, name).__members__)
    assert hasattr(trt.Runtime, "engine_host_code_allowed")
