"""The backends a session can run on: one table of names, one Protocol."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from rnnx_runtime.backends.names import BackendName
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.errors import BackendUnavailable
from rnnx_runtime.files.model_file import ModelFile, OnnxFile
from rnnx_runtime.state import DeviceTensor

_MODULES: dict[BackendName, str] = {
    "ort-cpu": "rnnx_runtime.backends.onnxruntime",
    "ort-cuda": "rnnx_runtime.backends.onnxruntime",
    "tensorrt": "rnnx_runtime.backends.tensorrt",
    "tensorrt-rtx": "rnnx_runtime.backends.tensorrt",
}


class Backend(Protocol):
    """What a session needs: where it runs, how to run, how to let go."""

    device: str
    """Where it really runs, such as `"CPU"` or `"NVIDIA H200"`."""

    def run(
        self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any] | DeviceTensor]:
        """The contract's outputs, in the contract's order, in memory of their own; safe to call from many threads.

        Feeds are checked and C-ordered; states may be tensors that an earlier run of this backend left on its device.
        `out` holds C-ordered arrays of the right dtypes and shapes for some outputs, by name: these are written and
        given back. States may stay on the device as a `DeviceTensor`; other outputs never do.
        """

    def close(self) -> None:
        """Free what the backend holds; called once."""


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A backend whose device may have memory of its own."""

    def resident(self, feeds: Mapping[str, NDArray[Any] | DeviceTensor]) -> Callable[[], float] | None:
        """A run over inputs that already lie on the device, its outputs left there, for measuring.

        Each call runs the model once, returns when the device is done, and says the device's time in ms. It is valid
        until `run` is called with other sizes. None where the device has no memory of its own.
        """


@runtime_checkable
class BindableBackend(Backend, Protocol):
    """A backend that can run again and again on the same host memory without looking at it anew."""

    def bind(self, feeds: Mapping[str, NDArray[Any]], out: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A run that reads these C-ordered arrays and writes every output into these; it keeps them.

        Runs of different bindings may run at the same time. None runs after `close`.
        """


@runtime_checkable
class DescribedBackend(Backend, Protocol):
    """A backend that has something to say of how it runs."""

    def describe(self) -> dict[str, str | int | None]:
        """Plain data, such as why a faster way could not be taken."""


def open_backend(name: BackendName, model: ModelFile, options: SessionOptions) -> Backend:
    """Open a checked model on a backend.

    Raises:
        BackendUnavailable: this host cannot run it, or the file is not of the backend's kind; says exactly why.
        BackendError: the backend was there and refused the file.
        ContractError: the file's inputs and outputs are not what its contract says.
    """
    needs_onnx = name in ("ort-cpu", "ort-cuda")
    if needs_onnx != isinstance(model, OnnxFile):
        raise BackendUnavailable(
            f"backend {name}",
            got=model.path.name,
            expected="an .onnx file" if needs_onnx else "a .plan file",
            remedy="name the matching file or another backend",
        )
    backend: Backend = import_module(_MODULES[name]).open_backend(name, model, options)
    return backend
