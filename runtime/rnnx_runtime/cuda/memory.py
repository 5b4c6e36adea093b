"""States in device memory: values that never change, over blocks that are used again when nothing holds them."""

import contextlib
import math
import sys
from collections import deque
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.cuda.buffers import capacity_for
from rnnx_runtime.cuda.calls import call, load_cudart
from rnnx_runtime.cuda.devices import Stream
from rnnx_runtime.errors import BackendError

Kind = tuple[str, int]
"""The name and the bytes of a block: with one list for `hn` and `cn` these would change places from step to step."""


class DeviceArray:
    """A tensor in a block of device memory, which goes back when nothing holds the tensor any more.

    It satisfies `rnnx_runtime.state.DeviceTensor`, and can still be read after its backend was closed.
    """

    __slots__ = ("_copies", "_kind", "_memory", "address", "dtype", "owner", "shape")

    def __init__(
        self,
        memory: "DeviceMemory",
        kind: Kind,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        owner: object,
    ) -> None:
        self._memory = memory
        self._kind = kind
        self._copies: list[NDArray[Any]] = []
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.owner = owner

    def keep(self, copy: NDArray[Any]) -> None:
        """Take a host copy that a run made anyway, for the next `numpy` to give without asking the device."""
        self._copies.append(copy)

    def numpy(self) -> NDArray[Any]:
        """A fresh copy in host memory."""
        try:
            return self._copies.pop()  # atomic: two threads never get the same array
        except IndexError:
            return self._memory.download(self.address, self.shape, self.dtype)

    def __del__(self) -> None:
        self._memory.give_back(self.address, self._kind)


class DeviceMemory:
    """Blocks of device memory in powers of two; a stream in steady state alternates between two of a name.

    Blocks are freed after `close` alone, so a graph that was captured before it never holds a freed address. A lock in
    `give_back` could be taken twice by one thread, for the garbage collector runs anywhere: a deque needs none.
    """

    def __init__(self) -> None:
        self._cudart = load_cudart()
        self._stream = Stream()  # apart from the runs', one of which may be captured while a state is read
        self._free: dict[Kind, deque[int]] = {}
        self._allocated: set[int] = set()
        self._is_closed = False
        self._freeing = RLock()

    def tensor(self, spec: TensorSpec, shape: tuple[int, ...], owner: object) -> DeviceArray:
        """A tensor of any values, in the block that was given back first where there is one."""
        dtype = np.dtype(spec.dtype)
        kind = spec.name, capacity_for(dtype.itemsize * math.prod(shape))
        free = self._free.setdefault(kind, deque())
        try:
            address = free.popleft()
        except IndexError:
            address = int(call(self._cudart, "cudaMalloc", kind[1]))
            self._allocated.add(address)
        return DeviceArray(self, kind, address, shape, dtype, owner)

    def download(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A copy of a tensor that no run is writing."""
        copy = np.empty(shape, dtype)
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self._cudart, "cudaMemcpyAsync", copy.ctypes.data, address, copy.nbytes, kind, self._stream.handle)
        self._stream.synchronize()
        return copy

    def give_back(self, address: int, kind: Kind) -> None:
        """Offer a block for use again, or free it when `close` was called."""
        self._free[kind].append(address)
        # In this order, as `close` does the opposite: one of the two sees the block.
        if self._is_closed and not sys.is_finalizing():  # then the driver may be gone, and frees all by itself
            with contextlib.suppress(BackendError):  # a device lost in a run was reported by that run
                self._release()

    def close(self) -> None:
        """Free all blocks but those of tensors that are still held, which go with them."""
        self._is_closed = True
        self._release()

    def _release(self) -> None:
        with self._freeing, contextlib.ExitStack() as stack:  # one failure stops none
            for free in self._free.values():
                with contextlib.suppress(IndexError):  # empty, perhaps since a collection freed a tensor just now
                    while True:
                        address = free.popleft()
                        self._allocated.discard(address)
                        stack.callback(call, self._cudart, "cudaFree", address)
            if not self._allocated:
                stack.callback(self._stream.close)
