"""The sound models that mutants are made of: both cells, one and more layers, one and both directions, every form."""

import numpy as np
from tests.mutants.mutant import Source
from torch import nn

from rnnx.truths.cases import Case, case_at
from rnnx_runtime import Contract

LSTM = Source(name="lstm", build=lambda: nn.LSTM(5, 8))
LSTM_SQUARE = Source(name="lstm-square", build=lambda: nn.LSTM(8, 8))
LSTM_2 = Source(name="lstm-2", build=lambda: nn.LSTM(5, 8, 2))
LSTM_BI = Source(name="lstm-bi", build=lambda: nn.LSTM(5, 8, bidirectional=True))
LSTM_2_BI = Source(name="lstm-2-bi", build=lambda: nn.LSTM(5, 8, 2, bidirectional=True), options={"lengths": True})
LSTM_2_BI_BATCH_FIRST = Source(
    name="lstm-2-bi-batch-first",
    build=lambda: nn.LSTM(5, 8, 2, bidirectional=True, batch_first=True),
    options={"batch_first": True, "lengths": True},
)
LSTM_ZERO_START = Source(
    name="lstm-2-bi-zero-start",
    build=lambda: nn.LSTM(5, 8, 2, bidirectional=True, batch_first=True),
    options={"batch_first": True, "stateful": False},
)
LSTM_WIDE = Source(name="lstm-wide", build=lambda: nn.LSTM(32, 48))

GRU = Source(name="gru", build=lambda: nn.GRU(5, 8))
GRU_BI = Source(
    name="gru-bi-batch-first",
    build=lambda: nn.GRU(5, 8, bidirectional=True, batch_first=True),
    options={"batch_first": True},
)
GRU_2_BI = Source(name="gru-2-bi", build=lambda: nn.GRU(5, 8, 2, bidirectional=True), options={"lengths": True})
GRU_3 = Source(name="gru-3", build=lambda: nn.GRU(5, 8, 3))
GRU_ZERO_START = Source(
    name="gru-2-zero-start", build=lambda: nn.GRU(5, 8, 2), options={"stateful": False, "lengths": True}
)

LSTM_STEP = Source(name="lstm-step", build=lambda: nn.LSTMCell(5, 8))
GRU_STEP = Source(name="gru-step", build=lambda: nn.GRUCell(5, 8))
LSTM_UNROLLED = Source(name="lstm-unrolled", build=lambda: nn.LSTMCell(5, 8), options={"form": "unrolled", "steps": 4})
GRU_UNROLLED = Source(name="gru-unrolled", build=lambda: nn.GRUCell(5, 8), options={"form": "unrolled", "steps": 4})


def _grown_cells(contract: Contract) -> list[Case]:
    """A cell state as large as a long count makes it, beyond float16 in a few units."""
    case = case_at(contract.layer(), 1, 4)
    grown = case.feeds["c0"] * np.float32(1.5e5)
    return [Case(name="B4 grown cell state", feeds={**case.feeds, "c0": grown})]


LSTM_STEP_GROWN = Source(name="lstm-step-grown", build=lambda: nn.LSTMCell(5, 8), cases=_grown_cells)

SOURCES = (
    LSTM, LSTM_SQUARE, LSTM_2, LSTM_BI, LSTM_2_BI, LSTM_2_BI_BATCH_FIRST, LSTM_ZERO_START, LSTM_WIDE, GRU, GRU_BI,
    GRU_2_BI, GRU_3, GRU_ZERO_START, LSTM_STEP, GRU_STEP, LSTM_UNROLLED, GRU_UNROLLED, LSTM_STEP_GROWN,
)  # fmt: skip
"""Every source, each of which is a twin that has to pass."""
