"""Engines that TensorRT-RTX really builds, without a GPU, for one it names."""

import importlib.util

from needs import needs


def build(path, capability="SM86"):
    """The plan of an ONNX file, for 1 to 4 of its dynamic first axis; its bytes."""
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(path)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        shape = network.get_input(index).shape[1:]
        profile.set_shape(network.get_input(index).name, (1, *shape), (1, *shape), (4, *shape))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)
