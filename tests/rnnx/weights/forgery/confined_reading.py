"""Forged files read in a process of its own: `python -m tests.rnnx.weights.forgery.confined_reading SEED FIRST LAST`.

One line of JSON for each file. A file that ends the process, or that it does not get past, is the one after its last
line: whoever started it goes on from there.
"""

import contextlib
import json
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import onnx
import torch
from tests.rnnx.weights.forgery.forged_files import forged

from rnnx.errors import CheckpointError
from rnnx.inspection import inspect
from rnnx.linting.examination import doctor
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.weights import read_weights, surveyed
from rnnx_runtime import RnnxError

SECONDS = 10
SPARE_MIB = 64
"""What a reading may take beside four times its file."""

_ADDRESSES = 2**33


def main(seed: str, first: str, last: str) -> None:
    """Read the files of these numbers, the last one not included."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        _warm(Path(name))
        for number in range(int(first), int(last)):
            print(json.dumps({"number": number, **_outcome(number, int(seed), Path(name))}), flush=True)


def _warm(folder: Path) -> None:
    """Imports and first calls are not a file's cost."""
    layer = torch.nn.LSTM(2, 2).state_dict()
    torch.save(layer, folder / "warm.pt")
    _read(folder / "warm.pt")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), folder / "warm.onnx")
    with contextlib.suppress(RnnxError):
        _read(folder / "warm.onnx")


def _outcome(number: int, seed: int, folder: Path) -> dict[str, Any]:
    kind, path = forged(number, seed, folder)
    size = path.stat().st_size
    before, start = _reset_peak(), time.perf_counter()
    refused, failure = _reading(path)
    seconds, peak = time.perf_counter() - start, max(0, _status("VmHWM") - before)
    if not failure and peak > 4 * size + SPARE_MIB * 2**20:
        failure = f"took {peak >> 20} MiB for {size:,} bytes"
    path.unlink()
    return {
        "kind": kind,
        "refused": refused,
        "failure": failure,
        "seconds": round(seconds, 3),
        "peak_mib": peak >> 20,
        "bytes": size,
    }


def _reading(path: Path) -> tuple[str, str]:
    """The class of a refusal, and what is wrong with it or with the reading."""
    try:
        with _time_limit():
            _read(path)
    except RnnxError as error:
        text = str(error)
        return type(error).__name__, "" if len(text.splitlines()) == 1 else f"not one line: {text[:200]!r}"
    except BaseException as error:
        return "", f"{type(error).__name__}: {error}"[:300]
    return "", ""


def _read(path: Path) -> None:
    """All that commands do with a file before they make another."""
    if path.suffix == ".onnx":
        for look in (doctor, inspect):
            try:
                look(path)
            except RnnxError as error:
                str(error).encode()
        inspect(path)
        return
    checkpoint = open_checkpoint(path)
    if path.suffix == ".pt":
        _compare(checkpoint, path)
    for module in surveyed(checkpoint).modules:
        read_weights(checkpoint, module)
    inspect(path)


def _compare(checkpoint: Any, path: Path) -> None:
    """Every tensor is as torch.load reads it, which has not looked at what is damaged; TorchScript it does not read."""
    if type(checkpoint).__name__ != "TorchCheckpoint":
        for key in checkpoint.tensors:
            checkpoint.tensor(key)
        return
    expected = _tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=False))
    for key in checkpoint.tensors:
        try:
            found = checkpoint.tensor(key)
        except CheckpointError:
            continue
        own = torch.Tensor.detach(expected[key]).resolve_conj().resolve_neg()
        own = own.dequantize() if own.is_quantized else own
        if found.dtype != own.dtype or not torch.equal(_bits(found), _bits(own)):
            raise AssertionError(f"{key!r} is not as torch.load reads it")


def _tensors(value: Any, key: str = "") -> dict[str, Any]:
    found = {key: value} if isinstance(value, torch.Tensor) else {}
    if isinstance(value, dict):
        items: Any = type(value).items(value)
    else:
        items = enumerate(value) if isinstance(value, list | tuple) else ()
    for name, inner in items:
        found |= _tensors(inner, f"{key}.{name}" if key else str(name))
    return found


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return (
        tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8) if tensor.numel() else tensor
    )


def _reset_peak() -> int:
    """The memory in use, in bytes, from which the next peak counts."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {SECONDS} s of the processor")

    previous = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


if __name__ == "__main__":
    main(*sys.argv[1:])
