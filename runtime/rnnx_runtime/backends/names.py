"""The names of the backends."""

from typing import Literal, get_args

BackendName = Literal["ort-cpu", "ort-cuda", "tensorrt", "tensorrt-rtx"]

BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)
