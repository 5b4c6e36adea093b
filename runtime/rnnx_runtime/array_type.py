"""The type of an array of any dtype and shape."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
