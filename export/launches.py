"""The launches of a frame on a GPU, written down for the C library, which replays them.

The pipeline of the runtime runs on a device that has no memory and computes nothing: addresses are ranges,
and a launch is noted. So grids, arguments and their order are written once, in spcnet.runtime.cuda. src/
cuda_plan.h of the library says what the numbers of a plan are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.backend import PENDING
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.backbone import ConvBackbone
from spcnet.runtime.cuda.device import Device, HostBuffer, Kernel
from spcnet.runtime.cuda.pipeline import ADD, LEARN, LEARN_DUE, LOCALIZE, UPDATE, Pipeline
from spcnet.runtime.cuda.region import Reach
from spcnet.runtime.regression import HeadWeights
from spcnet.runtime.weights import Weights

WORKS = (LOCALIZE, LEARN, UPDATE, LEARN_DUE)  # after the two parts of ADD, as the library numbers them
CONSTANT, SLOT, TARGET, POSITION = range(4)  # what a buffer is sized by
POINTER, INTEGER, FLOAT, DOUBLE, INTERP_FACTOR, FAST_INTERP_FACTOR = range(6)  # kinds of an argument
_KINDS = {"P": POINTER, "i": INTEGER, "f": FLOAT, "d": DOUBLE}
_RANGE = 40  # bits of an address inside a buffer
_SIZES = 16, 32


_Placer = Callable[[float], tuple[int, int]]  # an address to the index of its buffer, and the place inside it


class _Launch(NamedTuple):
    name: str
    network: bool  # it computes features
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[tuple[str, float], ...]  # letter of the signature, value


class _Recorder:
    """A Device as far as a pipeline needs one."""

    name = "recorder"

    def __init__(self, capability: tuple[int, int]) -> None:
        self.compute_capability = capability
        self.launches: list[_Launch] = []
        self.in_network = False
        self.sizes: dict[int, int] = {}  # of buffers, by number
        self.contents: dict[int, bytearray] = {}
        self._next = 1

    def allocate(self, size: int) -> int:
        number, self._next = self._next, self._next + 1
        self.sizes[number] = size
        return number << _RANGE

    def free(self, address: int) -> None:
        del self.sizes[address >> _RANGE]

    def allocate_host(self, size: int) -> HostBuffer:
        return HostBuffer(np.empty(0, np.uint8), self.allocate(size))

    def free_host(self, buffer: HostBuffer) -> None:
        self.free(buffer.address)

    def write(self, address: int, array: NDArray[Any]) -> None:
        number, offset = split(address)
        content = self.contents.setdefault(number, bytearray(self.sizes[number]))
        content[offset : offset + array.nbytes] = array.tobytes()

    def copy(self, to: int, source: int, size: int) -> None:
        """Nothing is there to copy."""

    def synchronize(self) -> None:
        """Nothing runs."""

    def kernel(self, name: str, signature: str) -> Kernel:
        def note(grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: float) -> None:
            named = tuple(zip(signature, arguments, strict=True))
            self.launches.append(_Launch(name, self.in_network, grid, block, named))

        return note


class _Network(ConvBackbone):
    """The backbone, whose launches are told from the others."""

    def __init__(self, recorder: _Recorder, weights: Weights) -> None:
        super().__init__(cast(Device, recorder), weights)
        self._recorder = recorder

    def enqueue(self, patches: int, features: int, images: int) -> None:
        self._recorder.in_network = True
        super().enqueue(patches, features, images)
        self._recorder.in_network = False


class _Recording:
    """A pipeline with room for so many slots, and so many targets at once."""

    def __init__(
        self, config: TrackerConfig, weights: Weights, head: HeadWeights | None, capability: int, slots: int
    ) -> None:
        self.device = _Recorder(divmod(capability, 10))
        device = cast(Device, self.device)
        self.frame = device.allocate(0)
        self.pipeline = Pipeline(device, config, _Network(self.device, weights), head)
        self.pipeline.grow(slots, _SIZES[0])

    def works(self, count: int) -> list[list[_Launch]]:
        """The launches of all works for count targets: of ADD up to the first patch, and after it."""
        found: list[list[_Launch]] = []

        def cut(_: int = 0) -> None:
            found.append(self.device.launches)
            self.device.launches = []

        for work in (ADD, *WORKS):
            lists = self.pipeline.slots
            slots = lists.due if work == LEARN_DUE else lists.list
            self.pipeline.launch(work, self.frame, slots, count, cut)
            cut()
        return found


def split(address: float) -> tuple[int, int]:
    """The number of a buffer, and the place inside it."""
    return divmod(int(address), 1 << _RANGE)


def record(
    config: TrackerConfig, weights: Weights, head: HeadWeights | None, capability: int
) -> dict[str, NDArray[Any]]:
    """The plan (n,) float64, names of kernels and constants (n,) uint8 for GPUs from a capability (75: 7.5).

    Raises ModelError, ValueError where our kernels do not compute the model.
    """
    # What may be changed between frames is set by the library; here it only has to be seen.
    fast = 0.7654321 if config.fast_interp_factor > 0 else 0.0
    config = dataclasses.replace(
        config, interp_factor=0.6543217, fast_interp_factor=fast, box_gain=1.0 if head else 0.0
    )
    kinds = {np.float32(config.interp_factor): INTERP_FACTOR}
    kinds |= {np.float32(fast): FAST_INTERP_FACTOR} if fast else {}
    # How far patches reach is linear in the gain, from the least one on.
    reach = Reach(config).half
    least = Reach(dataclasses.replace(config, box_gain=min(config.box_gain, 1e-12))).half
    small, large = (_Recording(config, weights, head, capability, slots) for slots in _SIZES)
    pipeline, sizes, contents = small.pipeline, small.device.sizes, small.device.contents
    slots, work, constants = pipeline.slots, pipeline.work, pipeline.launcher.constants
    for address in (slots.results.address, slots.due):  # the library has one frame under way
        sizes[split(address)[0]] //= PENDING
    for each in (small, large):
        del each.device.sizes[split(each.pipeline.slots.written_due.address)[0]]
    numbers = {number: index for index, number in enumerate(sizes)}
    numbers[0] = -1  # NULL

    def place(address: float) -> tuple[int, int]:
        number, offset = split(address)
        return numbers[number], offset

    positions = [slots.list, slots.due, slots.results.address, work.responses, work.colour]
    roles = (small.frame, slots.targets, work.patches, work.features, *positions)
    plan: list[float] = [
        reach[0],
        least[1],
        reach[1] - least[1],
        pipeline.batch,
        *(place(role)[0] for role in roles),
    ]
    for name in ("locate_constants", "update_constants"):
        plan += place(constants[name])
    plan.append(len(sizes))
    for (number, size), wider in zip(sizes.items(), large.device.sizes.values(), strict=True):
        if number in contents or number == split(small.frame)[0]:
            plan += (CONSTANT, size)
        else:
            kind, entries = (SLOT, slots.capacity) if wider > size else (TARGET, work.batch)
            kind = POSITION if number in (split(address)[0] for address in positions) else kind
            plan += (kind, size // entries)
    names: dict[str, int] = {}
    for launches in zip(*(small.works(count) for count in (1, 2, 3)), strict=True):
        plan.append(len(launches[0]))
        for same in zip(*launches, strict=True):
            plan += _launch(same, names, kinds, place)
    return {
        "plan": np.array(plan, np.float64),
        "kernels": np.frombuffer("".join(f"{name}\0" for name in names).encode(), np.uint8),
        "constants": np.frombuffer(
            b"".join(contents[number] for number in sizes if number in contents), np.uint8
        ),
    }


def _launch(
    same: tuple[_Launch, ...], names: dict[str, int], kinds: Mapping[np.float32, int], place: _Placer
) -> Iterator[float]:
    """The numbers of a launch, of what it is for 1, 2 and 3 targets; its kernel is added to names."""
    one, two, three = same
    fixed = [2 * a - b for a, b in zip(one.grid, two.grid, strict=True)]
    each = [b - a for a, b in zip(one.grid, two.grid, strict=True)]
    if [a + 3 * b for a, b in zip(fixed, each, strict=True)] != list(three.grid):
        raise AssertionError(f"the grid of {one.name} is not linear in the number of targets")
    if not one.arguments == two.arguments == three.arguments:
        raise AssertionError(f"the arguments of {one.name} depend on the number of targets")
    yield from (names.setdefault(one.name, len(names)), one.network, *fixed, *each, *one.block)
    yield len(one.arguments)
    for letter, value in one.arguments:
        yield from _argument(letter, value, kinds, place)


def _argument(letter: str, value: float, kinds: Mapping[np.float32, int], place: _Placer) -> Iterator[float]:
    if letter == "P":
        yield from (POINTER, *place(value))
    elif letter == "f" and np.float32(value) in kinds:
        yield from (kinds[np.float32(value)], 0, 0)
    else:
        yield from (_KINDS[letter], value, 0)
