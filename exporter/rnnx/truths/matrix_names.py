"""The names of the matrices of cases; light, for a command line that prints its help."""

from typing import Literal, get_args

MatrixName = Literal["quick", "full", "soak"]

MATRIX_NAMES: tuple[MatrixName, ...] = get_args(MatrixName)
