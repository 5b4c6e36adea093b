"""What becomes of files made to hang, to fill the memory or to lead astray: `python benchmarks/hostile_files.py`.

Each file of tests/rnnx/linting/hostile_models.py goes through every command that takes a file of another exporter, as
it is and under a forged seal of rnnx. A command must end with its own words and exit code 2 for what it refuses,
take no more than 10 s beyond what a sound file takes, and no more memory than it takes for a sound file, four times the
hostile one's size and 32 MiB. Times are by the clock, so that nothing else may be at work: on Linux, `chrt -r 1` before
the command keeps the processors for it.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from onnx import numpy_helper
from rounds import RESULTS, write_result
from safetensors.torch import save_file

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.model_file import read_onnx
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, sealed

LOADED = (
    "onnx", "onnx_ir", "onnxruntime", "tensorrt_rtx", "rnnx.building.engine", "rnnx.inspection",
    "rnnx.linting.rules.examined_model", "rnnx.sealing.sealed_graph", "rnnx.sealing.resealing",
    "rnnx.timing.benchmarking", "rnnx.tensorrt_network.candidate", "rnnx.verifying.verification",
)  # fmt: skip
"""What the commands load, before any fork: it is no part of what a file costs."""

ROOT = Path(__file__).parents[1]
SECONDS, SLACK = 10.0, 2**25

Row = dict[str, Any]


def main() -> None:
    """Write, run, judge, write down and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", help="one kind, whose rows are written down anew; all when left out")
    parser.add_argument("--file", help="one file, of which nothing is written down")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # the files are the tests' own
    from tests.rnnx.linting.hostile_models import HOSTILE

    for name in LOADED:
        with contextlib.suppress(ImportError):  # of a library that is not here
            import_module(name)
    kinds = [kind for kind in HOSTILE if options.kind in (None, kind)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        trial = _trial(Path(folder))
        for kind in kinds:
            own = [_row(trial, kind, name) for name in HOSTILE[kind] if options.file in (None, name)]
            if not options.file:  # each kind at once, since all take an hour
                data = {"seconds": SECONDS, "slack_mib": SLACK / 2**20, "rows": [*_written_down(kind), *own]}
                write_result("hostile_files", "python benchmarks/hostile_files.py", data)
            rows += own
    _print(rows)
    sys.exit(any(run["failure"] for row in rows for run in row["runs"]))


def _written_down(kind: str) -> list[Row]:
    """The rows of all other kinds, as they were measured last."""
    path = RESULTS / "hostile_files.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in rows if row["kind"] != kind]


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """Where the files lie, what they are said to be made from, and what each command takes for a sound one."""

    folder: Path
    original: Path
    baseline: Mapping[tuple[str, bool], Any]


def _trial(folder: Path) -> _Trial:
    original = _original(folder)
    baseline = {
        (name, is_sealed): run
        for is_sealed in (False, True)
        for name, run in _runs(_written(folder, original, None, is_sealed=is_sealed), original, folder)
    }
    return _Trial(folder=folder, original=original, baseline=baseline)


def _row(trial: _Trial, kind: str, file: str) -> Row:
    row: Row = {"kind": kind, "file": file, "runs": []}
    for is_sealed in (False, True):
        path = _written(trial.folder, trial.original, (kind, file), is_sealed=is_sealed)
        row["bytes"] = path.stat().st_size
        for name, run in _runs(path, trial.original, trial.folder):
            judged = _judged(run, trial.baseline[name, is_sealed], row["bytes"])
            row["runs"].append({"command": name, "sealed": is_sealed, **judged})
    failed = [f"{run['command']}{' sealed' * run['sealed']}: {run['failure']}" for run in row["runs"] if run["failure"]]
    print(f"{kind}, {file}: {'; '.join(failed) or 'well'}", file=sys.stderr, flush=True)
    return row


def _original(folder: Path) -> Path:
    """The export that the files are said to be made from, with their weights beside it."""
    from tests.rnnx.linting.hostile_models import sound

    onnx_weights = {own.name: torch.from_numpy(numpy_helper.to_array(own).copy()) for own in sound().graph.initializer}
    w, r, b = (_in_pytorchs_order(onnx_weights[name][0]) for name in ("W", "R", "B"))
    gru = torch.nn.GRU(3, 4)
    gru.load_state_dict({"weight_ih_l0": w, "weight_hh_l0": r, "bias_ih_l0": b[:12], "bias_hh_l0": b[12:]})
    save_file(gru.state_dict(), folder / "weights.safetensors")
    (folder / "original").mkdir()
    rnnx.export(gru, folder / "original" / "model.onnx")
    return folder / "original" / "model.onnx"


def _in_pytorchs_order(weight: torch.Tensor) -> torch.Tensor:
    """From ONNX's z, r, n to PyTorch's r, z, n; a bias has both halves."""
    gates = weight.reshape(-1, 3, 4, *weight.shape[1:])
    return gates[:, [1, 0, 2]].reshape(weight.shape).contiguous()


def _written(folder: Path, original: Path, chosen: tuple[str, str] | None, *, is_sealed: bool) -> Path:
    """The file, in a folder of its own; written by a process of its own, whose memory nobody inherits."""
    own = Path(tempfile.mkdtemp(dir=folder))
    child = os.fork()
    if child == 0:
        from tests.rnnx.linting.hostile_models import HOSTILE, sound

        data = HOSTILE[chosen[0]][chosen[1]](own, 1.0) if chosen else sound().SerializeToString()
        if is_sealed:
            values = {**json_from_contract(read_onnx(original).contract), SEAL_KEY: BLANK}
            data = sealed(data + _prop(b"rnnx", json.dumps(values).encode()))
        (own / "hostile.onnx").write_bytes(data)
        os._exit(0)
    os.waitpid(child, 0)
    return own / "hostile.onnx"


def _prop(key: bytes, value: bytes) -> bytes:
    from tests.rnnx.linting.hostile_models import field

    return field(14, field(1, key) + field(2, value))


def _runs(path: Path, original: Path, folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.rnnx.linting.hostile_trial import outcome_of

    weights, made = str(folder / "weights.safetensors"), path.parent / "made"
    calls = {
        "inspect": ["inspect", str(path)],
        "doctor": ["doctor", str(path)],
        "verify --checkpoint": ["verify", str(path), "--checkpoint", weights, "--no-latency"],
        "verify --like": ["verify", str(path), "--like", str(original), "--no-latency"],
        "seal": ["seal", str(path), "--like", str(original), "-o", str(made.with_suffix(".onnx"))],
        "build-engine": ["build-engine", str(path), "-o", str(made.with_suffix(".plan"))],
        "adopt": ["adopt", str(path), "-o", str(made.with_name("adopted.onnx"))],
        "bench": ["bench", str(path), "--backend", "ort-cpu", "--seconds", "0.1"],
    }
    for name, arguments in calls.items():
        yield name, outcome_of(arguments, folder)


def _judged(run: Any, own: Any, size: int) -> Row:
    beyond = max(0, run.peak_bytes - own.peak_bytes), max(0, run.children_bytes - own.children_bytes)
    failure = ""
    if run.code is None:
        failure = f"no end after {run.seconds:.0f} s"
    elif run.code not in (0, 1, 2):
        failure = f"exit code {run.code}"
    elif run.code == 1 and "Error" in run.message.split(":")[0]:
        failure = f"a traceback: {run.message[:200]}"
    elif run.seconds > SECONDS + own.seconds:
        failure = f"{run.seconds:.1f} s, where a sound file takes {own.seconds:.1f} s"
    elif max(beyond) > 4 * size + SLACK:
        failure = f"{max(beyond) / 2**20:.0f} MiB for a file of {size / 2**20:.2f} MiB"
    return {
        "code": run.code,
        "seconds": round(run.seconds, 2),
        "cpu_s": round(run.cpu_s, 2),
        "peak_mib": round(beyond[0] / 2**20, 1),
        "children_mib": round(beyond[1] / 2**20, 1),
        "message": run.message[:300],
        "failure": failure,
    }


def _print(rows: list[Row]) -> None:
    columns = ("file", ">bytes", ">refused", ">done", ">failed", ">slowest s", ">CPU s", ">peak MiB")
    table = [
        (
            row["file"],
            str(row["bytes"]),
            str(sum(run["code"] == 2 for run in row["runs"])),
            str(sum(run["code"] in (0, 1) for run in row["runs"])),
            str(sum(bool(run["failure"]) for run in row["runs"])),
            f"{max(run['seconds'] for run in row['runs']):.1f}",
            f"{max(run['cpu_s'] for run in row['runs']):.1f}",
            f"{max(max(run['peak_mib'], run['children_mib']) for run in row['runs']):.0f}",
        )
        for row in rows
    ]
    print_table(f"{len(rows)} hostile files", columns, table)


if __name__ == "__main__":
    main()
