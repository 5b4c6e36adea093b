"""Forged files are read or refused by one error, and never end the process or fill the memory."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from onnx import ModelProto
from tests.rnnx.adopting.foreign_files import foreign_model
from tests.rnnx.linting.forged_models import forged_models, sound_model

import rnnx
from rnnx.adopting.reading import read_recurrent, rows_of_reading
from rnnx.inspection import contract_rows
from rnnx_runtime import RnnxError
from rnnx_runtime.contract_json import contract_from_json, json_from_contract

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "torch_onnx").glob("*.onnx"))
SEED = 20291


def test_forged_files_are_read_or_refused() -> None:
    sound = [sound_model(), *(ModelProto.FromString(path.read_bytes()) for path in FIXTURES)]
    read, refusals = 0, list[str]()
    for name, data in forged_models(SEED, 300, sound):
        try:
            reading = read_recurrent(Path("theirs.onnx"), data)
            assert contract_from_json(json_from_contract(reading.contract), name) == reading.contract
            assert list(rows_of_reading(reading))
            assert contract_rows(reading.contract)
            read += 1
        except RnnxError as error:
            refusals.append(str(error))
    assert read > 60
    assert all(text.isprintable() for text in refusals)


@pytest.mark.slow
def test_forged_files_are_adopted_or_refused_and_leave_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for number, (name, data) in enumerate(forged_models(SEED + 1, 20, [sound_model()])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "theirs.onnx").write_bytes(data)
        written = 3
        try:
            rnnx.adopt(folder / "theirs.onnx", folder / "ours.onnx")
        except RnnxError:
            written = 1
        assert len(list(folder.iterdir())) == written, name


def test_a_shape_of_terabytes_is_not_made_while_the_file_is_read(tmp_path: Path) -> None:
    """Inference that follows the values of shapes would make the constant first."""
    model = foreign_model(HUGE)
    model.graph.node[0].attribute[0].t.dims[:] = [2**31]
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    program = (  # ru_maxrss would have the parent's memory in it
        "import re, resource, sys\nfrom pathlib import Path\nfrom rnnx.adopting.reading import read_recurrent\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\npath = Path(sys.argv[1])\n"
        "read_recurrent(path, path.read_bytes())\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "theirs.onnx")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 700 * 1024, "KiB"


HUGE = """g (float[T,N,5] x) => (float[a,b,c] y) {
    place = Constant <value = int64[1] {1}> ()
    shape = Shape (x)
    sizes = Gather (shape, place)
    both = Concat <axis = 0> (sizes, place)
    zeros = ConstantOfShape (both)
    wide = Add (x, zeros)
    whole = LSTM <hidden_size = 8> (wide, w, r, b)
    y = Squeeze (whole, one) }"""


ENDLESS = """g (float[T,N,5] x) => (float[T,N,8] y) {
    whole = LSTM <hidden_size = 8> (x, w, r, b)
    steps = Squeeze (whole, one)
    go = Constant <value = bool {1}> ()
    y = Loop <body = l (int64 at, bool own, float[T,N,8] s) => (bool on, float[T,N,8] n) {
        on = Identity (own)
        n = Neg (s) }> ("", go, steps) }"""


@pytest.mark.slow
def test_a_loop_without_an_end_is_an_error_within_seconds(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "theirs.onnx").write_bytes(foreign_model(ENDLESS).SerializeToString())
    start = time.perf_counter()
    with pytest.raises(RnnxError, match=r"got no answer within 8 s"):
        rnnx.adopt(tmp_path / "theirs.onnx", tmp_path / "ours.onnx")
    assert time.perf_counter() - start < 20
