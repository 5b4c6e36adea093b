"""Values that look rows up in a table, such as tokens, held to the rows that it has."""

from typing import Any

import numpy as np

from rnnx_runtime.errors import InputError


def check_lookups(name: str, value: Any, rows: int) -> None:
    """Refuse a value that no row of a table has: ONNX takes one below 0 from the table's end; raises InputError."""
    if type(value) is not np.ndarray or not value.size or (value.min() >= 0 and value.max() < rows):
        return
    wrong = value[(value < 0) | (value >= rows)].flat[0]
    raise InputError(
        f"input {name!r}",
        got=f"{wrong} in it",
        expected=f"0 to {rows - 1}, the rows of the table that it is looked up in",
        remedy="map words that the model does not know, and padding, to rows that it has",
    )
