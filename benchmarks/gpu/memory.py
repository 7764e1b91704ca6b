"""Device memory for the arrays of one check or measurement."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.cuda.device import Device


@final
class Memory:
    """Device memory that is freed when the block ends."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._addresses: list[int] = []

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        for address in self._addresses:
            self._device.free(address)

    def put(self, array: NDArray[Any]) -> int:
        """The address of a copy of the array."""
        address = self.space(array.nbytes)
        self._device.write(address, np.ascontiguousarray(array))
        return address

    def space(self, size: int) -> int:
        """The address of size bytes that nobody has written."""
        self._addresses.append(self._device.allocate(max(size, 1)))
        return self._addresses[-1]

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array read back."""
        array = np.empty(shape, dtype)
        self._device.synchronize()
        self._device.read(address, array)
        return array
