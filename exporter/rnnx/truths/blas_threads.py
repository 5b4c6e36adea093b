"""One thread for NumPy's products: those of a recurrent step are small, and several threads only wait for each other.

Beside other work on two cores a 2-layer bidirectional LSTM of H=256 took 40 ms with one thread and up to 330 with two.
"""

import contextlib
import functools
import importlib
import importlib.util
from typing import Any


def one_thread() -> contextlib.AbstractContextManager[Any]:
    """The context in which NumPy's products run on one thread; nothing changes where threadpoolctl is not installed."""
    pools = _pools()
    return contextlib.nullcontext() if pools is None else pools.limit(limits=1, user_api="blas")


@functools.cache  # finding the loaded libraries takes longer than a step
def _pools() -> Any:
    if importlib.util.find_spec("threadpoolctl") is None:
        return None
    return importlib.import_module("threadpoolctl").ThreadpoolController()
