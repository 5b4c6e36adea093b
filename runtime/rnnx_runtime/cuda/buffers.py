"""Buffers through which values go to a GPU and come back: they are kept from call to call and only grow."""

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.cuda.calls import call, load_cudart
from rnnx_runtime.cuda.devices import Stream


class HostBuffer:
    """Page-locked host memory that only grows.

    A copy to or from ordinary host memory is staged by the driver and blocks; from page-locked memory it is queued.
    """

    def __init__(self) -> None:
        self._cudart = load_cudart()
        self._bytes = np.empty(0, np.uint8)
        self.capacity = 0
        self.address = 0

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes; what the buffer held is lost when it grows."""
        if size <= self.capacity:
            return
        self.close()
        capacity = capacity_for(size)
        self.address = int(call(self._cudart, "cudaMallocHost", capacity))
        memory = (ctypes.c_char * capacity).from_address(self.address)
        self._bytes = np.frombuffer(memoryview(memory), np.uint8)
        self.capacity = capacity

    def view(self, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """The first bytes as an array; valid until the buffer grows or is closed."""
        values = np.dtype(dtype)
        size = values.itemsize * math.prod(shape)
        if size > self.capacity:
            raise ValueError(f"a view of {size} bytes into a buffer of {self.capacity}")
        return self._bytes[:size].view(values).reshape(shape)

    def download(self, device_address: int, size: int, stream: Stream) -> None:
        """Queue a copy from the device into the first `size` bytes, which hold it after `synchronize`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self._cudart, "cudaMemcpyAsync", self.address, device_address, size, kind, stream.handle)

    def close(self) -> None:
        """Free the memory; the buffer can be used again, and closing twice is harmless."""
        address, self.address, self.capacity = self.address, 0, 0
        self._bytes = np.empty(0, np.uint8)
        if address:
            call(self._cudart, "cudaFreeHost", address)


class DeviceBuffer:
    """Device memory that only grows, with a page-locked twin on the host through which every copy goes."""

    def __init__(self) -> None:
        self._cudart = load_cudart()
        self.host = HostBuffer()
        self.capacity = 0
        self.address = 0

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes in both memories; what the buffer held is lost when it grows."""
        if size <= self.capacity:
            return
        self.close()
        capacity = capacity_for(size)
        self.address = int(call(self._cudart, "cudaMalloc", capacity))
        self.host.reserve(capacity)
        self.capacity = capacity

    def upload(self, size: int, stream: Stream) -> None:
        """Queue a copy of the first `size` bytes to the device; the host twin must not change until it is done."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        call(self._cudart, "cudaMemcpyAsync", self.address, self.host.address, size, kind, stream.handle)

    def download(self, size: int, stream: Stream) -> None:
        """Queue a copy of the first `size` bytes from the device; the host twin holds them after `synchronize`."""
        self.host.download(self.address, size, stream)

    def close(self) -> None:
        """Free both memories; the buffer can be used again, and closing twice is harmless."""
        address, self.address, self.capacity = self.address, 0, 0
        try:
            if address:
                call(self._cudart, "cudaFree", address)
        finally:
            self.host.close()


def capacity_for(size: int) -> int:
    """The power of two that holds `size` bytes: with exact sizes each longer sequence would allocate again."""
    return 1 << (size - 1).bit_length()
