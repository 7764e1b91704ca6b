"""Every TensorRT name that the toolkit uses is in tensorrt_api.json, with the versions that have it.

The names are found by what the sources call their TensorRT objects, so an object under another name is not
seen, nor are arguments and results. Names that are composed at run time are listed here by hand.
"""

import ast
import functools
import importlib.util
import json
from pathlib import Path

import pytest
from emulator import recorded_builder, recorded_tensorrt
from needs import needs

from spcnet.export.build_options import HARDWARE
from spcnet.export.engine import WEAK_FALLBACK
from spcnet.runtime import TrackerConfig

TABLE = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text())["names"]
OBJECTS = {  # what each source calls its TensorRT objects, and their class; "" is the module
    "spcnet.export.engine": {
        "trt": "",
        "flags": "BuilderFlag",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
    },
    "spcnet.export.timing_cache": {"config": "IBuilderConfig", "cache": "ITimingCache"},
    "spcnet.export.build_progress": {"trt": "", "config": "IBuilderConfig"},
    "spcnet.runtime.cuda.engine": {
        "trt": "",
        "self._trt": "",
        "self._runtime": "Runtime",
        "engine": "ICudaEngine",
        "self._engine": "ICudaEngine",
        "context": "IExecutionContext",
        "options": "IRuntimeConfig",
    },
    "spcnet.runtime.cuda.engine_log": {"trt": "", "severity": "ILogger.Severity"},
}
RESULTS = {"get_timing_cache": "ITimingCache", "get_error": "ParserError"}
COMPOSED = {  # and what of
    "BuilderFlag.FP16": "the precision, for weakly typed networks: none is built from WEAK_FALLBACK on",
    "BuilderFlag.INT8": "the same",
    "HardwareCompatibilityLevel.AMPERE_PLUS": "the option hardware",
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": "the option hardware, refused where missing",
    "TensorIOMode.INPUT": "the text that the tensors of an engine are compared with",
    "TensorIOMode.OUTPUT": "the same",
    "DataType.FLOAT": "the same",
    "TensorFormat.LINEAR": "the same",
}
GUARDED = {  # what TensorRT 10.3 or 11.4 lacks: the condition that every use stands under
    "flavour == 'tensorrt_rtx'": {  # it alone builds for a GPU that is not here, and compiles when it loads
        "BuilderFlag.REQUIRE_USER_ALLOCATION",
        "ComputeCapability",
        "IBuilderConfig.num_compute_capabilities",
        "IBuilderConfig.set_compute_capability",
        "ICudaEngine.create_runtime_config",  # 11.4 has it too
        "IRuntimeConfig.set_execution_context_allocation_strategy",  # the same
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
        "DynamicShapesKernelSpecializationStrategy",
        "DynamicShapesKernelSpecializationStrategy.EAGER",
    },
    "getattr": {"IExecutionContext.is_stream_capturable"},
}


def dotted(node, objects):
    """The TensorRT name of an expression, or None."""
    if (text := ast.unparse(node)) in objects:
        return objects[text]
    match node:
        case ast.Call(func=ast.Name("getattr"), args=[owner, ast.Constant(str(name)), *_]):
            pass
        case ast.Call(func=ast.Attribute(attr=name)):
            return RESULTS.get(name)
        case ast.Attribute(value=owner, attr=name):
            pass
        case _:
            return None
    found = dotted(owner, objects)
    return None if found is None else f"{found}.{name}".lstrip(".")


def uses(node, objects, under=()):
    """Name, and the conditions it stands under, of each attribute of a TensorRT object."""
    if isinstance(node, (ast.Attribute, ast.Call)) and ast.unparse(node) not in objects:
        name = dotted(node, objects)
        if name and name not in RESULTS.values():
            yield name, (*under, "getattr") if isinstance(node, ast.Call) else under
    if isinstance(node, ast.ClassDef):  # what it overrides
        for base in filter(None, (dotted(base, objects) for base in node.bases)):
            yield from ((f"{base}.{f.name}", under) for f in node.body if isinstance(f, ast.FunctionDef))
    for field, value in ast.iter_fields(node):
        inside = isinstance(node, ast.If) and field == "body"
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from uses(child, objects, (*under, ast.unparse(node.test)) if inside else under)


def collected():
    tracker = {f"IBuilderConfig.{name}" for name in dir(TrackerConfig())}  # the other kind of config
    for module, objects in OBJECTS.items():
        tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
        for name, under in uses(tree, objects):
            last = name.rpartition(".")[2]
            if name not in tracker and (last == "__version__" or not last.startswith("__")):
                yield name, under


FOUND = list(collected())


def test_the_table_has_every_name_that_is_used_and_no_other():
    assert {name for name, _ in FOUND} | set(COMPOSED) == set(TABLE)
    assert {f"HardwareCompatibilityLevel.{level.upper()}" for level in HARDWARE[1:]} <= set(COMPOSED)


@pytest.mark.parametrize("name", TABLE)
def test_tensorrt_rtx_has_what_the_table_says(name):
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    import tensorrt_rtx

    missing = object()
    found = functools.reduce(lambda owner, part: getattr(owner, part, missing), name.split("."), tensorrt_rtx)
    assert (found is not missing) == TABLE[name]["rtx"]


def test_what_a_tensorrt_lacks_is_guarded():
    lacking = {name for name, has in TABLE.items() if not (has["10.3"] and has["11.4"])}
    guards = {name: guard for guard, names in GUARDED.items() for name in names}
    assert lacking - set(COMPOSED) == set(guards)
    for name, under in FOUND:
        assert name not in guards or any(guards[name] in condition for condition in under), (name, under)
    assert WEAK_FALLBACK < (11,)


def test_the_doubles_have_no_name_that_tensorrt_lacks():
    """Beyond what is their own: how they record."""
    own = {"say", "record", "count", "born", "dies", "start", "recording", "trt", "known", "shapes"}
    for double, name in (
        (recorded_tensorrt.RecordedRuntime, "Runtime"),
        (recorded_tensorrt.RecordedEngine, "ICudaEngine"),
        (recorded_tensorrt.RecordedConfig, "IRuntimeConfig"),
        (recorded_tensorrt.RecordedContext, "IExecutionContext"),
        (recorded_builder.Builder, "Builder"),
        (recorded_builder.Parser, "OnnxParser"),
        (recorded_builder.Profile, "IOptimizationProfile"),
        (recorded_builder.Cache, "ITimingCache"),
        (recorded_builder.Config, "IBuilderConfig"),
    ):
        members = {member for member in vars(double) if not member.startswith("__")} - own
        assert members and {f"{name}.{member}" for member in members} <= set(TABLE), double
    members = {member for member in vars(recorded_tensorrt.RecordedTensorRT) if not member.startswith("__")}
    assert members - own <= {name.partition(".")[0] for name in TABLE}
