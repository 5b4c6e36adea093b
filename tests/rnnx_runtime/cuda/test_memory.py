"""States in device memory, on a CUDA runtime in NumPy: whose block is whose, and when it goes back."""

import gc
from threading import Thread
from typing import Any

import numpy as np
import pytest

from rnnx_runtime import BackendError, State, TensorSpec
from rnnx_runtime.cuda.memory import DeviceArray, DeviceMemory
from rnnx_runtime.state import DeviceTensor

SHAPE = (1, 2, 4)


def spec(name: str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=(1, "B", 4))


@pytest.fixture
def memory(fake_cudart: Any) -> DeviceMemory:
    """Memory of the fake device."""
    return DeviceMemory()


def _write(cudart: Any, tensor: DeviceArray, value: float) -> None:
    size = int(np.prod(tensor.shape))
    cudart.device[tensor.address].view(np.float32)[:size] = value


def test_a_tensor_is_a_part_of_a_state(memory: DeviceMemory) -> None:
    tensor = memory.tensor(spec("hn"), SHAPE, owner := object())
    assert isinstance(tensor, DeviceTensor)
    assert (tensor.shape, tensor.owner) == (SHAPE, owner)
    assert State(tensor).is_on_device


def test_its_host_copy_is_fresh_each_time(fake_cudart: Any, memory: DeviceMemory) -> None:
    tensor = memory.tensor(spec("hn"), SHAPE, None)
    _write(fake_cudart, tensor, 3)
    first = tensor.numpy()
    first[...] = 0
    np.testing.assert_array_equal(tensor.numpy(), np.full(SHAPE, 3, np.float32))


def test_a_copy_that_a_run_made_is_given_once_without_asking_the_device(fake_cudart: Any, memory: DeviceMemory) -> None:
    tensor = memory.tensor(spec("hn"), SHAPE, None)
    _write(fake_cudart, tensor, 3)
    tensor.keep(kept := np.full(SHAPE, 3, np.float32))
    fake_cudart.calls.clear()
    assert tensor.numpy() is kept
    assert fake_cudart.calls == []
    assert tensor.numpy() is not kept


def test_blocks_that_are_held_are_never_used_again(memory: DeviceMemory) -> None:
    held = [memory.tensor(spec("hn"), SHAPE, None) for _ in range(5)]
    assert len({tensor.address for tensor in held}) == 5


def test_a_stream_alternates_between_two_blocks(fake_cudart: Any, memory: DeviceMemory) -> None:
    addresses = []
    state: Any = None
    for _ in range(6):
        h, c = memory.tensor(spec("hn"), SHAPE, None), memory.tensor(spec("cn"), SHAPE, None)
        addresses.append((h.address, c.address))
        state = State(h, c)
        del h, c
    assert addresses[:2] * 3 == addresses
    assert fake_cudart.calls.count("cudaMalloc") == 4
    del state


def test_a_block_holds_any_shape_of_its_size(fake_cudart: Any, memory: DeviceMemory) -> None:
    for shape in ((1, 3, 4), (1, 4, 4), (2, 2, 4), (1, 2, 4)):
        memory.tensor(spec("hn"), shape, None)
    assert [block.nbytes for block in fake_cudart.device.values()] == [64, 32]


def test_a_tensor_in_a_cycle_goes_back_when_it_is_collected(fake_cudart: Any, memory: DeviceMemory) -> None:
    cycle: list[Any] = [memory.tensor(spec("hn"), SHAPE, None)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    memory.tensor(spec("hn"), SHAPE, None)
    assert fake_cudart.calls.count("cudaMalloc") == 1


def test_closing_gives_everything_back_and_twice_is_harmless(fake_cudart: Any, memory: DeviceMemory) -> None:
    memory.tensor(spec("hn"), SHAPE, None)
    for _ in range(2):
        memory.close()
    assert fake_cudart.is_empty


def test_a_tensor_outlives_the_memory_it_came_from_and_then_goes_with_its_block(
    fake_cudart: Any, memory: DeviceMemory
) -> None:
    first, second = memory.tensor(spec("hn"), SHAPE, None), memory.tensor(spec("hn"), SHAPE, None)
    _write(fake_cudart, second, 7)
    memory.close()
    del first
    assert len(fake_cudart.device) == 1
    np.testing.assert_array_equal(second.numpy(), np.full(SHAPE, 7, np.float32))
    del second
    assert fake_cudart.is_empty


def test_a_lost_device_is_no_error_of_a_tensor_that_goes(fake_cudart: Any, memory: DeviceMemory) -> None:
    tensor = memory.tensor(spec("hn"), SHAPE, None)
    memory.close()
    fake_cudart.failures["cudaFree"] = fake_cudart.cudaError_t.cudaErrorIllegalAddress
    del tensor  # an error in `__del__` would be a warning, which fails the test


def test_no_memory_is_an_error(fake_cudart: Any, memory: DeviceMemory) -> None:
    fake_cudart.failures["cudaMalloc"] = fake_cudart.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(BackendError, match=r"CUDA cudaMalloc: got cudaErrorMemoryAllocation \(2\)"):
        memory.tensor(spec("hn"), SHAPE, None)
    fake_cudart.failures.clear()
    assert memory.tensor(spec("hn"), SHAPE, None).shape == SHAPE


def test_threads_never_share_a_block(fake_cudart: Any, memory: DeviceMemory) -> None:
    clashes: list[float] = []

    def work(mark: float) -> None:
        for _ in range(300):
            tensor = memory.tensor(spec("hn"), SHAPE, None)
            _write(fake_cudart, tensor, mark)
            clashes.extend(value for value in fake_cudart.device[tensor.address].view(np.float32) if value != mark)

    threads = [Thread(target=work, args=(float(mark),)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert fake_cudart.calls.count("cudaMalloc") <= 8
