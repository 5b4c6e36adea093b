"""CUDA graphs of an engine's steps: one for each set of shapes and addresses that comes again."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnx_runtime.backends.context import Binding, EngineContext, capture_settings
from rnnx_runtime.backends.engine import LoadedEngine, refusal
from rnnx_runtime.cuda.devices import Stream
from rnnx_runtime.cuda.graphs import CudaGraph, capture_graph
from rnnx_runtime.errors import BackendError

MOST_GRAPHS = 16
"""Eight streams that each alternate between two states; every graph costs a context's scratch memory."""


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A graph and the context that it was captured from.

    TensorRT leaves undefined what a graph does whose context was changed after the capture, so each has its own.
    https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html#cuda-graphs
    """

    graph: CudaGraph
    context: EngineContext

    def close(self) -> None:
        self.graph.close()
        self.context.close()


class StepGraphs:
    """At most `MOST_GRAPHS` graphs, the one longest unused let go first; none any more once a capture failed."""

    def __init__(self, loaded: LoadedEngine, stream: Stream) -> None:
        self.failure: str | None = None
        """Why nothing is captured any more; None while all is well."""
        self._loaded: LoadedEngine | None = loaded
        self._stream = stream
        self._settings: Any = None
        self._seen: OrderedDict[object, None] = OrderedDict()
        self._captured: OrderedDict[object, _Captured] = OrderedDict()

    def __len__(self) -> int:
        return len(self._captured)

    def launch(self, binding: Binding, queue: Callable[[EngineContext], None], key: object) -> bool:
        """Queue a step whose `queue` is the same for the same key; False where nothing was queued.

        The second time a key comes, its step runs plainly in a new context, as TensorRT needs before a capture.
        """
        captured = self._captured.get(key)
        if captured is not None:
            self._captured.move_to_end(key)
            captured.graph.launch(self._stream)
            return True
        if self.failure is not None or not self._came_before(key):
            return False
        return self._run_and_capture(binding, queue, key)

    def clear(self) -> None:
        """Let all graphs go, as before memory is freed that they use; what they run must be done."""
        captured, self._captured = self._captured, OrderedDict()
        self._seen.clear()
        with contextlib.ExitStack() as stack:  # one failure stops none
            for each in captured.values():
                stack.callback(each.close)

    def close(self) -> None:
        """Let go of all graphs, their contexts and the engine."""
        try:
            self.clear()
        finally:
            self._settings = self._loaded = None

    def _came_before(self, key: object) -> bool:
        if key in self._seen:
            del self._seen[key]
            return True
        self._seen[key] = None
        if len(self._seen) > MOST_GRAPHS:  # more in turns than could be kept: each would be let go before it is used
            self._seen.popitem(last=False)
        return False

    def _run_and_capture(self, binding: Binding, queue: Callable[[EngineContext], None], key: object) -> bool:
        ran = False
        try:
            context = self._new_context()
            context.bind(binding)
            queue(context)
            ran = True
            self._captured[key] = self._capture(context, queue)
        except BackendError as error:
            self._give_up(error)
        if len(self._captured) > MOST_GRAPHS:
            self._captured.popitem(last=False)[1].close()
        return ran

    def _new_context(self) -> EngineContext:
        assert self._loaded is not None
        self._settings = self._settings or capture_settings(self._loaded)
        return EngineContext(self._loaded, self._stream, self._settings)

    def _capture(self, context: EngineContext, queue: Callable[[EngineContext], None]) -> _Captured:
        if not context.is_capturable():
            assert self._loaded is not None
            raise refusal("capturing a step", self._loaded.logger, RuntimeError("the engine cannot be captured"))
        return _Captured(graph=capture_graph(self._stream, lambda: queue(context)), context=context)

    def _give_up(self, error: BackendError) -> None:
        self.failure = str(error)
        self._stream.synchronize()  # the new context may be running still
        self.clear()
