"""A model, a thousand frames and their truth in NumPy float64, for states that stay on a device that long."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnx
from rnnx.truths.reference import evaluate
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime import Session
from rnnx_runtime.files.model_file import read_onnx

FRAMES = 1000


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """`frames (1000, B, I)` for the model at `path`, with the truth of every step's y and of the last state."""

    path: Path
    frames: Any
    ys: Any
    hn: Any
    cn: Any

    def check(self, session: Session) -> None:
        """Step through all frames with the state left where it lies, and compare."""
        state: Any = None
        for frame, truth in zip(self.frames, self.ys, strict=True):
            y, state = session.step(frame, state)
            np.testing.assert_allclose(y, truth, atol=1e-5)
        np.testing.assert_allclose(state.h.reshape(self.hn.shape), self.hn, atol=1e-5)
        np.testing.assert_allclose(state.c.reshape(self.cn.shape), self.cn, atol=1e-5)


def long_run(folder: Path, form: str, batch: int = 2) -> LongRun:
    """An LSTM, I=5 and H=8, exported as an encoder or a step."""
    nn = pytest.importorskip("torch.nn", reason="torch is not installed")
    layer = (nn.LSTM if form == "encoder" else nn.LSTMCell)(5, 8)
    path = Path(rnnx.export(layer, folder / f"{form}.onnx").path)
    contract = read_onnx(path).contract
    frames = np.random.default_rng(0).standard_normal((FRAMES, batch, 5), np.float32)
    values = [value.detach().numpy() for value in layer.parameters()]
    weights = DirectionWeights(w_ih=values[0], w_hh=values[1], b_ih=values[2], b_hh=values[3])
    module: RecurrentModule = None  # type: ignore[assignment] # evaluate reads the contract alone
    model = RecurrentWeights(module=module, directions=((weights,),), sha256="")
    truth = evaluate(model, dataclasses.replace(contract.layer(), form="encoder"), {"x": frames})
    return LongRun(path=path, frames=frames, ys=truth["output"], hn=truth["hn"], cn=truth["cn"])
