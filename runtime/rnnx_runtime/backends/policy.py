"""Which backend a model runs on where its caller names none."""

from importlib import import_module

from rnnx_runtime.backends.names import BackendName
from rnnx_runtime.cuda.gpu_presence import gpu_is_present
from rnnx_runtime.files.model_file import ModelFile, OnnxFile


def default_backend(model: ModelFile) -> BackendName:
    """The library that built a .plan; for an .onnx `ort-cuda` where it can be meant, else `ort-cpu`.

    It is meant where the installed ONNX Runtime is a CUDA build and this process sees a GPU, whether that then works or
    not: a service that pays for a GPU must hear of it, and a host without one needs no other package.
    """
    if not isinstance(model, OnnxFile):
        return model.sidecar.flavor
    return "ort-cuda" if _is_cuda_build() and gpu_is_present() else "ort-cpu"


def _is_cuda_build() -> bool:
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError:  # opening the backend says so, with its remedy
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
