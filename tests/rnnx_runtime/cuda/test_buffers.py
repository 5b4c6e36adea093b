"""Buffers on a CUDA runtime in NumPy; the last test uses the real one where there is a GPU."""

from typing import Any

import numpy as np
import pytest

from rnnx_runtime import BackendError, BackendUnavailable
from rnnx_runtime.cuda.buffers import DeviceBuffer, HostBuffer
from rnnx_runtime.cuda.devices import Stream, device_count


def test_a_buffer_carries_values_to_the_device_and_back(fake_cudart: Any) -> None:
    stream, buffer, values = Stream(), DeviceBuffer(), np.arange(6, dtype=np.float32).reshape(2, 3)
    buffer.reserve(values.nbytes)
    view = buffer.host.view("float32", (2, 3))
    view[...] = values
    buffer.upload(values.nbytes, stream)
    stream.synchronize()
    view[...] = 0
    buffer.download(values.nbytes, stream)
    assert not view.any(), "a copy is queued, not done"
    stream.synchronize()
    np.testing.assert_array_equal(view, values)


def test_a_buffer_only_grows_and_by_powers_of_two(fake_cudart: Any) -> None:
    buffer, capacities = DeviceBuffer(), []
    for size in (1, 100, 90, 128, 129):
        buffer.reserve(size)
        capacities.append(buffer.capacity)
    assert capacities == [1, 128, 128, 128, 256]
    assert [memory.nbytes for memory in fake_cudart.device.values()] == [256]
    assert [memory.nbytes for memory in fake_cudart.host.values()] == [256]
    assert fake_cudart.calls.count("cudaMalloc") == 3


def test_a_view_beyond_the_buffer_is_refused(fake_cudart: Any) -> None:
    buffer = DeviceBuffer()
    buffer.reserve(16)
    with pytest.raises(ValueError, match="20 bytes into a buffer of 16"):
        buffer.host.view("float32", (5,))


def test_closing_gives_everything_back_and_twice_is_harmless(fake_cudart: Any) -> None:
    buffer = DeviceBuffer()
    buffer.reserve(10)
    for _ in range(2):
        buffer.close()
    assert fake_cudart.is_empty


def test_a_closed_buffer_can_be_used_again(fake_cudart: Any) -> None:
    buffer = DeviceBuffer()
    buffer.reserve(10)
    buffer.close()
    buffer.reserve(10)
    assert buffer.host.view("int32", (2,)).shape == (2,)


def test_half_an_allocation_is_freed_on_close(fake_cudart: Any) -> None:
    buffer = DeviceBuffer()
    fake_cudart.failures["cudaMallocHost"] = fake_cudart.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(BackendError, match=r"CUDA cudaMallocHost: got cudaErrorMemoryAllocation \(2\)"):
        buffer.reserve(10)
    assert buffer.capacity == 0
    buffer.close()
    assert fake_cudart.is_empty


def test_host_memory_is_freed_even_when_freeing_the_device_fails(fake_cudart: Any) -> None:
    buffer = DeviceBuffer()
    buffer.reserve(10)
    fake_cudart.failures["cudaFree"] = fake_cudart.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(BackendError, match="cudaFree"):
        buffer.close()
    assert not fake_cudart.host


def test_a_host_buffer_takes_what_lies_anywhere_on_the_device(fake_cudart: Any) -> None:
    stream, source, target = Stream(), DeviceBuffer(), HostBuffer()
    source.reserve(8)
    source.host.view("float32", (2,))[...] = [1.5, -2.0]
    source.upload(8, stream)
    target.reserve(8)
    target.download(source.address, 8, stream)
    stream.synchronize()
    assert target.view("float32", (2,)).tolist() == [1.5, -2.0]


@pytest.mark.gpu
def test_a_real_device_holds_what_was_copied_to_it() -> None:
    try:
        device_count()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    stream, buffer = Stream(), DeviceBuffer()
    values = np.random.default_rng(0).standard_normal((100, 7)).astype(np.float32)
    buffer.reserve(values.nbytes)
    view = buffer.host.view("float32", values.shape)
    view[...] = values
    buffer.upload(values.nbytes, stream)
    stream.synchronize()
    view[...] = 0
    buffer.download(values.nbytes, stream)
    stream.synchronize()
    np.testing.assert_array_equal(view, values)
    buffer.close()
    stream.close()
