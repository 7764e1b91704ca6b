"""The bytes of an ONNX file, checked before a runtime sees them: a network of ours, and nothing else.

A reader of protobuf's wire format, as small as the task: a loop, a constant that is computed from two numbers
or a path of weights must be refused before anything is opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OPERATORS = frozenset(
    (
        *("Conv", "Relu", "Mul", "Sqrt", "Div", "Cast", "QuantizeLinear", "DequantizeLinear"),  # backbones
        *("Flatten", "Gemm"),  # regression heads
        *("Add", "Sub", "Concat", "MatMul", "ReduceSum", "Reshape", "Split", "Unsqueeze"),  # portable graphs
    )
)
LARGEST_ATTRIBUTE = 64  # a kernel, stride or padding
LARGEST_SIDE = 1024  # of the weights of a convolution, and of a constant of one dimension
LARGEST_WEIGHT = 1e6  # the features of larger ones overflow

# Numbers of fields in onnx.proto.
_GRAPH, _PROPERTIES = 7, 14  # of a model
_NODE, _INITIALIZER = 1, 5  # of a graph
_MODEL_FIELDS = frozenset((1, 2, 3, 4, 5, 6, _GRAPH, 8, _PROPERTIES))  # neither functions nor training
_GRAPH_FIELDS = frozenset((_NODE, 2, _INITIALIZER, 10, 11, 12, 13))  # no sparse tensors
_ATTRIBUTE_FIELDS = frozenset((1, 2, 3, 4, 7, 8, 13, 20))  # numbers and strings; no tensor, no graph
_TENSOR_FIELDS = frozenset((1, 2, 4, 7, 8, 9, 12))
_EXTERNAL_FIELDS = frozenset((13, 14))
_TYPES = {1: np.float32, 10: np.float16, 11: np.float64}  # of tensors that may hold what is no number


def properties(data: bytes) -> dict[str, str]:
    """The metadata of a model file. Raises ValueError on bytes that are none."""
    found = {}
    for number, value in _fields(memoryview(data)):
        if number == _PROPERTIES:
            entry = dict(_fields(_message(value)))
            key, text = (bytes(_message(entry.get(part, b""))) for part in (1, 2))
            try:
                found[key.decode()] = text.decode()
            except UnicodeDecodeError:
                raise ValueError("has metadata that is not UTF-8") from None
    return found


class Network(NamedTuple):
    """The operators of a network with the names of their inputs, in order, and its constants by name."""

    nodes: list[tuple[str, list[str]]]
    arrays: dict[str, NDArray[Any]]  # those of floating point

    def weights(
        self, operators: tuple[str, ...], count: int
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """The weights and the biases of the first count operators of these kinds. Raises ValueError."""
        inputs = [names for operator, names in self.nodes if operator in operators][:count]
        if len(inputs) != count or any(name not in self.arrays for names in inputs for name in names[1:]):
            raise ValueError(f"lacks the constants of {count} operators {', '.join(operators)}")
        weights, biases = (
            [self.arrays[names[place]].astype(np.float32) for names in inputs] for place in (1, 2)
        )
        return weights, biases


def read_network(data: bytes) -> Network:
    """The graph of a network. Raises ValueError where it is none of ours; the text goes on after its name."""
    nodes, tensors = [], []
    for graph in _parts(memoryview(data), _GRAPH, _MODEL_FIELDS, "the model"):
        nodes += [_check_node(node) for node in _parts(graph, _NODE, _GRAPH_FIELDS, "the graph")]
        tensors += list(_parts(graph, _INITIALIZER, _GRAPH_FIELDS, "the graph"))
    weights = {  # name -> place among the inputs of a Conv or Gemm
        name: place
        for operator, inputs in nodes
        for place, name in enumerate(inputs)
        if place and operator in ("Conv", "Gemm")
    }
    found = Network(nodes, {})
    for tensor in tensors:
        found.arrays.update(_check_tensor(tensor, weights))
    return found


def _check_node(node: memoryview) -> tuple[str, list[str]]:
    """The operator of a node and its inputs."""
    operator, domain, inputs, attributes = "", "", [], []
    for number, value in _fields(node):
        if number == 1:
            inputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:
            attributes.append(_message(value))
    if operator not in OPERATORS or domain not in ("", "ai.onnx"):
        raise ValueError(f"has an operator {operator!r:.60} that no network of ours has")
    for attribute in attributes:
        for number, value in _fields(attribute):
            if number not in _ATTRIBUTE_FIELDS:
                raise ValueError(f"has a tensor or a graph inside an operator {operator}")
            integers = _integers(value) if number in (3, 8) else []
            if any(abs(integer) > LARGEST_ATTRIBUTE for integer in integers):
                largest = max(integers, key=abs)
                raise ValueError(
                    f"has an operator {operator} with {largest}, at most {LARGEST_ATTRIBUTE} is taken"
                )
    return operator, inputs


def _check_tensor(tensor: memoryview, weights: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """A constant by its name, if it is of floating point.

    Raises ValueError where it is too large, in another file, or no weights of use.
    """
    shape: list[int] = []
    kind, name, stored = 0, "", list[memoryview]()
    for number, value in _fields(tensor):
        if number in _EXTERNAL_FIELDS:
            if value != 0:
                raise ValueError("uses external weights, a single file is required")
        elif number not in _TENSOR_FIELDS:
            raise ValueError(f"keeps the numbers of a tensor in field {number}")
        elif number == 1:
            shape += _integers(value)
        elif number == 2:
            kind = sum(_integers(value)[-1:])
        elif number == 8:
            name = _text(value)
        elif number in (4, 9):  # float_data, raw_data
            stored.append(_message(value))
    if any(side < 1 for side in shape) or (len(shape) in (1, 4) and max(shape) > LARGEST_SIDE):
        raise ValueError(f"has a tensor {name!r:.60} of {shape}, at most {LARGEST_SIDE} a side is taken")
    if kind not in _TYPES:
        return {}
    size = np.dtype(_TYPES[kind]).itemsize
    values = np.frombuffer(b"".join(part[: len(part) // size * size] for part in stored), _TYPES[kind])
    if not np.isfinite(values).all():
        raise ValueError(f"has a tensor {name!r:.60} with a number that is not finite")
    largest = float(np.abs(values).max(initial=0))
    if name in weights and largest > LARGEST_WEIGHT:
        raise ValueError(f"has weights {name!r:.60} of {largest:.2g}, at most {LARGEST_WEIGHT:g} is taken")
    if weights.get(name) == 1 and len(shape) == 4 and not largest:
        raise ValueError(f"has weights {name!r:.60} that are all 0")
    if values.size != math.prod(shape):
        raise ValueError(f"has a tensor {name!r:.60} of {shape} with {values.size} numbers")
    return {name: values.reshape(shape)}


def _parts(data: memoryview, wanted: int, allowed: frozenset[int], whole: str) -> Iterator[memoryview]:
    """The messages in a field; a field that is not allowed is refused."""
    for number, value in _fields(data):
        if number not in allowed:
            raise ValueError(f"has a field {number} in {whole} that no file of ours has")
        if number == wanted:
            yield _message(value)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: an integer, or the bytes of anything else."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            integer, place = _varint(data, place)
            yield number, integer
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("is no ONNX file, or is damaged")
        if place + size > len(data):
            raise ValueError("is no ONNX file, or is cut off")
        yield number, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """The integer at a place, and the place after it."""
    value = 0
    for index in range(10):
        if place + index >= len(data):
            raise ValueError("is no ONNX file, or is cut off")
        byte = data[place + index]
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, place + index + 1
    raise ValueError("is no ONNX file, or is damaged")


def _integers(value: int | memoryview) -> list[int]:
    """One integer or a packed list of them, with their signs."""
    found = [value] if isinstance(value, int) else []
    place = 0
    while not isinstance(value, int) and place < len(value):
        integer, place = _varint(value, place)
        found.append(integer)
    return [integer - (1 << 64) if integer >= 1 << 63 else integer for integer in found]


def _message(value: int | memoryview | bytes) -> memoryview:
    if isinstance(value, int):
        raise ValueError("is no ONNX file, or is damaged")
    return memoryview(value)


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")
