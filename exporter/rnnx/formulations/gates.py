"""One step of a cell as Gemm or MatMul and element-wise gates, shared by the step and the unrolled form.

Formulas: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html, `GRUCell.html` and `RNNCell.html`.
"""

import numpy as np
from spox import Var

from rnnx.formulations.graph import GraphBuilder
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Nonlinearity

_LSTM_SIGMOIDS_FIRST = (0, 1, 3, 2)
"""PyTorch's i, f, g, o with the three sigmoid gates side by side, so that one Sigmoid serves them: i, f, o, g."""


def lstm_rows(array: Array) -> Array:
    """Rows `(4·H, …)` from PyTorch's gate order to the one `lstm_state` reads."""
    gates = np.split(array, 4)
    return np.concatenate([gates[place] for place in _LSTM_SIGMOIDS_FIRST])


def lstm_state(graph: GraphBuilder, gates: Var, c: Var, hidden: int) -> tuple[Var, Var]:
    """The next h and c from the gates' sums `(…, 4·H)` in the order i, f, o, g."""
    op = graph.op
    sums, candidate = op.split(gates, graph.ints(3 * hidden, hidden), outputs_count=2, axis=-1)
    i, f, o = op.split(op.sigmoid(sums), graph.ints(hidden, hidden, hidden), outputs_count=3, axis=-1)
    c = op.add(op.mul(f, c), op.mul(i, op.tanh(candidate)))
    return op.mul(o, op.tanh(c)), c


def gru_state(graph: GraphBuilder, inputs: Var, recurrent: Var, h: Var, hidden: int) -> Var:
    """The next h from the input's and the state's sums, each `(…, 3·H)` in PyTorch's order r, z, n.

    The reset gate applies to the recurrent sum, bias included; `(1 - z)·n + z·h` is written `n + z·(h - n)`.
    """
    op = graph.op
    widths = graph.ints(2 * hidden, hidden)
    gates_x, candidate_x = op.split(inputs, widths, outputs_count=2, axis=-1)
    gates_h, candidate_h = op.split(recurrent, widths, outputs_count=2, axis=-1)
    r, z = op.split(op.sigmoid(op.add(gates_x, gates_h)), graph.ints(hidden, hidden), outputs_count=2, axis=-1)
    n = op.tanh(op.add(candidate_x, op.mul(r, candidate_h)))
    result: Var = op.add(n, op.mul(z, op.sub(h, n)))
    return result


def rnn_state(graph: GraphBuilder, sums: Var, nonlinearity: Nonlinearity | None) -> Var:
    """The next h of a plain RNN from its sum `(…, H)`."""
    result: Var = graph.op.relu(sums) if nonlinearity == "relu" else graph.op.tanh(sums)
    return result
