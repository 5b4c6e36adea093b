"""Whether the driver shows this process a GPU, asked before anything that needs one is imported."""

import ctypes
import sys

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_NO_GPU = (34, 100)
"""`cuInit`'s ways to say that there is none: a stub in the driver's place, and no device."""


def gpu_is_present() -> bool:
    """Whether a driver is installed and shows a GPU, even one that it cannot start: using it then says why.

    https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__INITIALIZE.html
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    status = driver.cuInit(0)
    if status:
        return status not in _NO_GPU
    count = ctypes.c_int()
    return driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value > 0
