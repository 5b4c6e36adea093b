"""Models to serve, and a service for the tests that change nothing in it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.examples.service.server_process import ROOT, ServerProcess

import rnnx

README = ROOT / "examples" / "service" / "README.md"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both models of g2p-lstm, exported by the commands of the README."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "models").symlink_to(ROOT / "models")
    commands = re.findall(r"^```sh\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    call = ["bash", "-euo", "pipefail", "-c", "\n".join(commands)]
    done = subprocess.run(
        call, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def small(small_models: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of the test's own with small models: I = 5, H = 8."""
    return written(small_models, tmp_path)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of small models."""
    folder = tmp_path_factory.mktemp("small")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rnnx.export(torch.nn.LSTMCell(5, 8), folder / "step.onnx")
        encoder = torch.nn.LSTM(5, 8, bidirectional=True)
        rnnx.export(encoder, folder / "encoder.onnx", rnnx.ExportOptions(lengths=True))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(models: dict[str, bytes], folder: Path) -> Path:
    for name, data in models.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def server(small_models: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service on small models with short limits."""
    folder = written(small_models, tmp_path_factory.mktemp("served"))
    limits = {"ping_s": 0.3, "peer_timeout_s": 1, "request_timeout_s": 1, "max_body_bytes": 1 << 16}
    with ServerProcess(folder, **limits, max_padded_frames=1000) as server:
        yield server
