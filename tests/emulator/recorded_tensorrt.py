"""A double of TensorRT's part that loads an engine: it records the calls, and computes as told."""

import ctypes
import enum
import types

import numpy as np

from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.features import OnnxBackbone, backbone_session

VERSION = "10.3.0.30"
HEADER = b"ftrt" + bytes(20) + bytes([10, 3, 0, 30])
RTX_HEADERS = {  # of plans that these versions of tensorrt-rtx-cu13 built
    "1.4.0.76": "76747274000000000200000000000000 2cb4070000000000 0104004c",
    "1.7.1.116": "76747274000000000200000000000000 94eb070000000000 01070174",
}
CONFIG = TrackerConfig(patch_size=49, channels=4, interp_factor=0.02)  # of tiny_model


class RecordedTensorRT(types.ModuleType):
    """not TensorRT: it records the calls, and computes with a given function.

    It is as strict as TensorRT is said to be: a shape outside the profile is refused, work cannot be recorded
    in a graph before it ran once in that shape, and whatever is destroyed before what depends on it is
    noticed.
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
        self.Runtime = self.start

    def start(self, logger):
        if "runtime" in self.refused:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return RecordedRuntime(self, logger)

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
        self.engine_host_code_allowed, self.DLA_core = False, 0
        trt.born("runtime")

    def __del__(self):
        self.trt.dies("runtime")

    def deserialize_cuda_engine(self, plan):
        self.trt.core = self.DLA_core
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


def by_onnxruntime(path, factor=1.0):
    """The computation of the double: the model itself, times a factor."""
    backbone = OnnxBackbone(backbone_session(model.load(path)))

    def compute(patches, features, shape):
        images, _, n, _ = shape
        out = view(features, (images, CONFIG.channels, n, n))
        backbone(view(patches, shape), out)
        out *= factor

    return compute
