import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Tagger, tagger_inputs
from torch import nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn.utils import rnn

from rnnx.graphs.export_report import ExportReport
from rnnx.tracing.exporting import export_model
from rnnx.tracing.turns import own_turn


def test_one_thread_is_inside_at_a_time_and_may_go_in_again() -> None:
    inside, most = [0], [0]

    def enter(_: int) -> None:
        with own_turn(), own_turn():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(enter, range(8)))
    assert most == [1]


def test_exports_in_several_threads_are_right_and_leave_pytorch_as_it_was(tmp_path: Path) -> None:
    models = [Tagger().eval() for _ in range(3)]
    before = (nn.LSTM.forward, ShapeEnv._set_replacement, rnn.pack_padded_sequence.__code__, torch.get_default_dtype())
    start = threading.Barrier(3)

    def export(index: int) -> ExportReport:
        start.wait()
        return export_model(models[index], tagger_inputs(2, 5), tmp_path / f"{index}.onnx")

    with ThreadPoolExecutor(3) as threads:
        reports = list(threads.map(export, range(3)))
    after = (nn.LSTM.forward, ShapeEnv._set_replacement, rnn.pack_padded_sequence.__code__, torch.get_default_dtype())
    assert after == before
    tokens, lengths = tagger_inputs(4, 8)
    for model, report in zip(models, reports, strict=True):
        found = onnx_outputs(report.path, {"tokens": tokens.numpy(), "lengths": lengths.numpy()})["output"]
        assert np.allclose(found, model(tokens, lengths).detach().numpy(), atol=2e-6)
