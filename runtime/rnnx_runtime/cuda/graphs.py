"""CUDA graphs: work that is captured from a stream once and then launched as a whole.

https://docs.nvidia.com/cuda/cuda-programming-guide/04-special-topics/cuda-graphs.html
"""

from collections.abc import Callable
from typing import Any

from rnnx_runtime.cuda.calls import call, load_cudart
from rnnx_runtime.cuda.devices import Stream


class CudaGraph:
    """A captured graph, ready to launch; it uses the addresses of its capture, and what lies there at each launch."""

    def __init__(self, cudart: Any, executable: Any) -> None:
        self._cudart = cudart
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        """Queue all of the work."""
        call(self._cudart, "cudaGraphLaunch", self._executable, stream.handle)

    def close(self) -> None:
        """Give the graph back, which no stream may be running; closing twice is harmless."""
        executable, self._executable = self._executable, None
        if executable is not None:
            call(self._cudart, "cudaGraphExecDestroy", executable)


def capture_graph(stream: Stream, queue: Callable[[], None]) -> CudaGraph:
    """Capture what `queue` puts on the stream, none of which happens now.

    Raises:
        BackendError: `queue` raised it, or CUDA could not capture; the stream can be used again.
    """
    cudart = load_cudart()
    # Calls that no capture allows are an error in this thread alone: a service's other threads may allocate meanwhile.
    mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    call(cudart, "cudaStreamBeginCapture", stream.handle, mode)
    try:
        queue()
    except BaseException:
        _abandon_capture(cudart, stream)
        raise
    try:
        graph = call(cudart, "cudaStreamEndCapture", stream.handle)
        try:
            return CudaGraph(cudart, call(cudart, "cudaGraphInstantiate", graph, 0))
        finally:
            call(cudart, "cudaGraphDestroy", graph)
    finally:
        cudart.cudaGetLastError()  # a failed capture leaves its error for the next caller that looks


def _abandon_capture(cudart: Any, stream: Stream) -> None:
    """End a capture that came to nothing; its graph is null where CUDA itself gave it up."""
    status, graph = cudart.cudaStreamEndCapture(stream.handle)
    if int(status) == 0 and int(graph):
        cudart.cudaGraphDestroy(graph)
    cudart.cudaGetLastError()
