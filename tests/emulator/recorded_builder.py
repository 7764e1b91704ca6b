"""not TensorRT: a double of what builds an engine, as strict as its documentation, by version.

It shows which calls are made, not that TensorRT takes them: TensorRT-RTX really builds in the tests beside
it.
"""

import enum

from emulator.recorded_tensorrt import RecordedTensorRT


class RecordedBuilding(RecordedTensorRT):
    """TensorRT of a version, on a machine with so many DLA cores; fail names what fails."""

    def __init__(self, device=None, compute=None, version="10.3.0", cores=0, **options):
        super().__init__(device, compute, **options)
        self.__version__ = version
        self.fail = set()  # "builder", "strong", "weak", "parse"
        self.builders = []
        numbers = tuple(map(int, version.split(".")[:2]))
        flags = "TF32 VERSION_COMPATIBLE GPU_FALLBACK" + " FP16 INT8" * (numbers < (11, 0))
        self.BuilderFlag = enum.Enum("BuilderFlag", flags)
        levels = "NONE AMPERE_PLUS" + " SAME_COMPUTE_CAPABILITY" * (numbers > (10, 3))
        self.HardwareCompatibilityLevel = enum.Enum("HardwareCompatibilityLevel", levels)
        creation = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1} if numbers < (11, 0) else {"STRONGLY_TYPED": 0}
        self.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", creation)
        self.MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE DLA_MANAGED_SRAM")
        self.DeviceType = enum.Enum("DeviceType", "GPU DLA")
        self.IProgressMonitor = type("IProgressMonitor", (), {})
        self.cores = cores

        def make(logger):
            if "builder" in self.fail:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            assert isinstance(logger, self.ILogger)
            self.logger = logger
            self.builders.append(Builder(self))
            return self.builders[-1]

        self.Builder = make
        self.OnnxParser = lambda network, logger: Parser(self, network)


class Builder:
    def __init__(self, trt):
        self.trt, self.num_DLA_cores = trt, trt.cores

    def create_network(self, flags):
        strong = 1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        assert flags in (0, strong)
        self.strong = flags == strong
        return self

    def create_builder_config(self):
        self.config = Config(self.trt)
        return self.config

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        assert network is self and config is self.config and config.profile.shapes
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        for step in range(2):
            monitor.phase_start(f"Timing {step}", "Building", 2)
            for within in range(2):
                if not monitor.step_complete(f"Timing {step}", within):
                    return None
            monitor.phase_finish(f"Timing {step}")
            if not monitor.step_complete("Building", step):
                return None
        monitor.phase_finish("Building")
        if ("strong" if self.strong else "weak") in self.trt.fail:
            self.trt.say("ERROR", "no tactic")
            return None
        if config.cache is not None:
            config.cache.known += b"timed"
        numbers = [int(number) for number in self.trt.__version__.split(".") if number.isdigit()]
        version = bytes([*numbers, 0][:4])
        return b"ftrt" + bytes(20) + version + b"the rest"


class Parser:
    def __init__(self, trt, network):
        self.trt, self.network = trt, network
        self.num_errors = 2

    def parse(self, data):
        assert isinstance(data, bytes) and data
        return "parse" not in self.trt.fail

    def get_error(self, index):
        return type("Error", (), {"desc": lambda self: f"node {index} is unknown"})()


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, least, best, most):
        self.shapes[name] = (least, best, most)


class Cache:
    def __init__(self, known):
        self.known = known

    def serialize(self):
        return self.known


class Config:
    """Takes only what the documentation of the version names."""

    def __init__(self, trt):
        object.__setattr__(self, "trt", trt)
        for name in ("builder_optimization_level", "progress_monitor", "cache", "profile"):
            object.__setattr__(self, name, None)
        object.__setattr__(self, "flags", {trt.BuilderFlag.TF32})
        object.__setattr__(self, "pools", {})

    def __setattr__(self, name, value):
        assert name in (
            "builder_optimization_level",
            "progress_monitor",
            "hardware_compatibility_level",
            "default_device_type",
            "DLA_core",
        ), name
        object.__setattr__(self, name, value)

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool.name] = size

    def add_optimization_profile(self, profile):
        object.__setattr__(self, "profile", profile)

    def create_timing_cache(self, data):
        return Cache(data)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        if cache.known and not cache.known.startswith(b"timed"):
            return False
        object.__setattr__(self, "cache", cache)
        return True

    def get_timing_cache(self):
        return self.cache
