"""Captured work, on a CUDA runtime in NumPy; the last test uses the real one where there is a GPU."""

from typing import Any

import pytest

from rnnx_runtime import BackendError, BackendUnavailable
from rnnx_runtime.cuda.buffers import DeviceBuffer
from rnnx_runtime.cuda.devices import Stream, device_count
from rnnx_runtime.cuda.graphs import capture_graph


@pytest.fixture
def stream(fake_cudart: Any) -> Stream:
    """A stream of the fake device."""
    return Stream()


@pytest.fixture
def buffer(fake_cudart: Any) -> DeviceBuffer:
    """Room for one float."""
    buffer = DeviceBuffer()
    buffer.reserve(4)
    return buffer


def test_captured_work_happens_at_each_launch_on_what_lies_there_then(stream: Stream, buffer: DeviceBuffer) -> None:
    value = buffer.host.view("float32", (1,))

    def there_and_back() -> None:
        buffer.upload(4, stream)
        buffer.download(4, stream)

    value[...] = 1
    graph = capture_graph(stream, lambda: buffer.upload(4, stream))
    value[...] = 2
    graph.launch(stream)
    stream.synchronize()
    value[...] = 3
    buffer.download(4, stream)
    stream.synchronize()
    assert value == 2
    again = capture_graph(stream, there_and_back)
    value[...] = 4
    again.launch(stream)
    again.launch(stream)
    stream.synchronize()
    assert value == 4


def test_everything_is_given_back_and_twice_is_harmless(fake_cudart: Any, stream: Stream, buffer: DeviceBuffer) -> None:
    graph = capture_graph(stream, lambda: buffer.upload(4, stream))
    assert not fake_cudart.graphs, "what was captured is needed until it is ready to launch"
    for _ in range(2):
        graph.close()
    buffer.close()
    stream.close()
    assert fake_cudart.is_empty


def test_work_that_cannot_be_queued_ends_the_capture(fake_cudart: Any, stream: Stream, buffer: DeviceBuffer) -> None:
    def fail() -> None:
        buffer.upload(4, stream)
        raise KeyError("no work")

    with pytest.raises(KeyError):
        capture_graph(stream, fail)
    assert not fake_cudart.captures
    assert not fake_cudart.graphs


@pytest.mark.parametrize("call", ["synchronize", "reserve"])
def test_a_call_that_no_capture_allows_is_an_error_and_ends_it(
    fake_cudart: Any, stream: Stream, buffer: DeviceBuffer, call: str
) -> None:
    with pytest.raises(BackendError, match=r"cudaErrorStreamCaptureUnsupported \(900\)"):
        capture_graph(stream, stream.synchronize if call == "synchronize" else lambda: DeviceBuffer().reserve(4))
    assert not fake_cudart.captures
    buffer.upload(4, stream)
    stream.synchronize()


@pytest.mark.parametrize("function", ["cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_failing_capture_leaves_its_error_to_nobody_else(
    fake_cudart: Any, stream: Stream, buffer: DeviceBuffer, function: str
) -> None:
    fake_cudart.failures[function] = fake_cudart.cudaError_t.cudaErrorStreamCaptureInvalidated
    with pytest.raises(BackendError, match=function):
        capture_graph(stream, lambda: buffer.upload(4, stream))
    assert not fake_cudart.graphs
    assert fake_cudart.calls[-1] == "cudaGetLastError"


@pytest.mark.parametrize("function", ["cudaStreamBeginCapture", "cudaGraphLaunch", "cudaGraphExecDestroy"])
def test_every_other_call_is_checked(fake_cudart: Any, stream: Stream, buffer: DeviceBuffer, function: str) -> None:
    def use() -> None:
        graph = capture_graph(stream, lambda: buffer.upload(4, stream))
        graph.launch(stream)
        stream.synchronize()
        graph.close()

    fake_cudart.failures[function] = fake_cudart.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(BackendError, match=function):
        use()


@pytest.mark.gpu
def test_a_real_graph_copies_what_lies_there_at_its_launch() -> None:
    try:
        device_count()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    stream, buffer = Stream(), DeviceBuffer()
    buffer.reserve(4)
    value = buffer.host.view("float32", (1,))
    value[...] = 1
    graph = capture_graph(stream, lambda: buffer.upload(4, stream))
    value[...] = 2
    graph.launch(stream)
    stream.synchronize()
    value[...] = 3
    buffer.download(4, stream)
    stream.synchronize()
    assert value == 2
    graph.close()
    buffer.close()
    stream.close()
