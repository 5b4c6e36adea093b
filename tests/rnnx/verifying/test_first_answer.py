"""A file that never comes to an end is refused within seconds, and not after the minutes that a case may take."""

from pathlib import Path

import pytest
import torch
from tests.rnnx.linting.hostile_models import HOSTILE
from torch import nn

import rnnx
from rnnx import VerifyOptions, verify
from rnnx.verifying import first_answer
from rnnx_runtime import FileDamagedError


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VerifyOptions:
    torch.manual_seed(0)
    rnnx.export(nn.GRU(3, 4), tmp_path / "original.onnx")
    (tmp_path / "endless.onnx").write_bytes(HOSTILE["no end"]["a loop of 2^62 turns"](tmp_path, 1.0))
    monkeypatch.setattr(first_answer, "FIRST_ANSWER_S", 1.0)
    return VerifyOptions(like=tmp_path / "original.onnx", backends=("ort-cpu",), latency=False)


def test_a_loop_without_an_end_is_refused(endless: VerifyOptions, tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError, match=r"no answer of ort-cpu to the case .* within 1 s, .*case_timeout_s"):
        verify(tmp_path / "endless.onnx", endless)
