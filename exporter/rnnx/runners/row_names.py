"""The names of the rows that a report can have; light, for a command line that prints its help."""

from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx_runtime.backends.names import BACKEND_NAMES

PYTORCH_ROWS = ("pytorch-cpu", "pytorch-cuda")

ROW_NAMES: tuple[str, ...] = (*PYTORCH_ROWS, *BACKEND_NAMES, NETWORK_ROW)
"""Every row a report can have, in its order."""


def runs_the_model(row: str) -> bool:
    """Whether a row runs the exported file as a service would; PyTorch and the parsed network prove less."""
    return row not in (*PYTORCH_ROWS, NETWORK_ROW)
