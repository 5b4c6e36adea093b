import errno
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations

import rnnx
import rnnx_runtime
from rnnx import ExportOptions
from rnnx.errors import CheckpointError, ExportError, MissingExtraError, OptionError, OutputError, WeightsError
from rnnx.truths.golden import read_golden
from rnnx_runtime import BackendError, RnnxError
from rnnx_runtime.contract import Nonlinearity

SEED = 20272
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def lstm(**options: Any) -> nn.LSTM:
    torch.manual_seed(SEED)
    return nn.LSTM(3, 5, **options)


def save(tensors: Any, path: Path) -> Path:
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    return path


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SHA-256 of `lstm()`'s weights."""
    return rnnx.export(lstm(), tmp_path_factory.mktemp("digest") / "model.onnx").contract.source.weights_sha256


# What is exported


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_float_type_gives_a_float32_model(tmp_path: Path, suffix: str, dtype: str) -> None:
    module = lstm().to(DTYPES[dtype])
    report = rnnx.export(save(module.state_dict(), tmp_path / f"model.{suffix}"), tmp_path / "model.onnx")
    assert report.weights == f"{dtype} in the source, float32 in the graph"
    assert report.contract.source.file == f"model.{suffix}"
    x = np.random.default_rng(SEED).standard_normal((4, 2, 3), np.float32)
    with rnnx_runtime.load(report.path) as session, torch.no_grad():
        expected = module.double()(torch.from_numpy(x).double())[0].numpy()
        np.testing.assert_allclose(session.run(x)[0], expected, rtol=0, atol=1e-6)


def training_state(module: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.Adam(module.parameters())
    output, _ = module(torch.ones(2, 1, 3))
    output.sum().backward()
    optimizer.step()
    return {"model": lstm().state_dict(), "optimizer": optimizer.state_dict(), "epoch": 7, "loss": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        pytest.param(lambda module: {"state_dict": module.state_dict()}, "state_dict", id="state-dict"),
        pytest.param(training_state, "model", id="adam"),
        pytest.param(lambda module: nn.DataParallel(module).state_dict(), "module", id="data-parallel"),
        pytest.param(
            lambda module: nn.ModuleDict(
                {"encoder": nn.ModuleDict({"rnn": module}), "head": nn.Linear(5, 2)}
            ).state_dict(),
            "encoder.rnn",
            id="nested",
        ),
        pytest.param(lambda module: [module.state_dict(), {"step": 3}], "0", id="list"),
    ],
)
def test_the_only_layer_is_found_wherever_it_is(
    tmp_path: Path, digest: str, wrap: Callable[[nn.Module], Any], prefix: str
) -> None:
    report = rnnx.export(save(wrap(lstm()), tmp_path / "model.pt"), tmp_path / "model.onnx")
    assert report.contract.source.module == prefix
    assert report.contract.source.weights_sha256 == digest


@pytest.mark.parametrize("chosen", ["encoder", "decoder", "model.decoder"])
def test_one_of_several_layers_is_chosen(tmp_path: Path, chosen: str) -> None:
    model = nn.ModuleDict({"model": nn.ModuleDict({"encoder": lstm(), "decoder": nn.GRUCell(3, 5)})})
    source = save(model.state_dict(), tmp_path / "model.safetensors")
    report = rnnx.export(source, tmp_path / "model.onnx", ExportOptions(module=chosen))
    assert report.contract.source.module == f"model.{chosen.removeprefix('model.')}"
    assert report.contract.layer().form == ("encoder" if chosen == "encoder" else "step")


@pytest.mark.parametrize("own", [False, True], ids=["tbi", "bti"])
@pytest.mark.parametrize("asked", [None, False, True], ids=["default", "asked-tbi", "asked-bti"])
def test_a_modules_own_batch_order_is_the_default(tmp_path: Path, own: bool, asked: bool | None) -> None:
    model = nn.ModuleDict({"head": nn.Linear(5, 2), "rnn": lstm(batch_first=own)})
    report = rnnx.export(model, tmp_path / "model.onnx", ExportOptions(module="rnn", batch_first=asked))
    assert report.contract.layer().batch_first == (own if asked is None else asked)
    assert report.contract.source.file == "ModuleDict"


def test_a_checkpoint_is_not_batch_first_unless_asked(tmp_path: Path) -> None:
    source = save(lstm(batch_first=True).state_dict(), tmp_path / "model.pt")
    assert not rnnx.export(source, tmp_path / "model.onnx").contract.layer().batch_first
    assert rnnx.export(source, tmp_path / "model.onnx", ExportOptions(batch_first=True)).contract.layer().batch_first


def test_a_module_in_training_is_exported_as_it_infers(tmp_path: Path, digest: str) -> None:
    module = lstm(dropout=0.0)
    module.train()
    assert rnnx.export(module, tmp_path / "model.onnx").contract.source.weights_sha256 == digest
    assert module.training


def test_the_report_says_what_was_written(tmp_path: Path) -> None:
    report = rnnx.export(lstm(), str(tmp_path / "model.onnx"))
    assert (report.path, report.golden) == (tmp_path / "model.onnx", tmp_path / "model.golden.npz")
    assert sorted(tmp_path.iterdir()) == [report.golden, report.path]
    assert report.bytes == report.path.stat().st_size
    assert report.contract.versions["onnx"] == onnx.__version__
    assert report.checks[0] == "onnx.checker with strict shape inference: passed"
    assert report.checks[1].startswith("rnnx doctor")
    assert report.checks[2].startswith("values: equal to the truth in 4 cases in ONNX Runtime ")
    assert read_golden(report.golden, report.contract)


def test_an_export_replaces_an_older_one_whole(tmp_path: Path) -> None:
    rnnx.export(nn.GRU(3, 5), tmp_path / "model.onnx")
    report = rnnx.export(lstm(), tmp_path / "model.onnx")
    with rnnx_runtime.load(report.path) as session:
        assert session.spec == report.contract
    assert read_golden(report.golden, report.contract)


PROGRAM = """
import sys
import rnnx
source, target = sys.argv[1:]
rnnx.export(source, target, rnnx.ExportOptions(lengths=True))
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fresh_processes_give_the_same_bytes_and_need_no_torch_for_safetensors(tmp_path: Path, dtype: str) -> None:
    source = save(lstm(num_layers=2).to(DTYPES[dtype]).state_dict(), tmp_path / "model.safetensors")
    digests = []
    for hash_seed in ("1", "2"):
        target = tmp_path / hash_seed / "model.onnx"
        target.parent.mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, source, target],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("False\n", "")
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.parent.iterdir())])
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]


# What is refused, and what is on disk afterwards


Files = dict[str, bytes]


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with an older model in it; the sources lie elsewhere."""
    (tmp_path / "out").mkdir()
    rnnx.export(nn.GRUCell(2, 2), tmp_path / "out" / "model.onnx")
    return tmp_path / "out"


def refusal(error: type[RnnxError], source: Any, out: Path, **options: Any) -> str:
    """The message of an export that is refused and leaves the older model alone."""
    before = contents(out)
    with pytest.raises(error) as caught:
        rnnx.export(source, out / "model.onnx", ExportOptions(**options))
    assert contents(out) == before
    return str(caught.value)


def changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    merged = {**lstm(num_layers=2).state_dict(), **changes}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("gone.pt", None, "got no such file, expected a checkpoint; check the path", id="missing"),
        pytest.param("a.pt", b"", "got neither a zip nor a pickle, expected a whole file written by torch", id="empty"),
        pytest.param("a.pt", b"garbage", "got neither a zip nor a pickle, expected a whole file", id="garbage-pt"),
        pytest.param("a.pt", b"PK\x03\x04garbage", "expected a whole file written by torch.save", id="garbage-zip"),
        pytest.param("a.safetensors", b"", "expected a whole safetensors file; save or copy it again", id="empty-st"),
        pytest.param("a.safetensors", b"garbage" * 9, "expected a whole safetensors file", id="garbage-st"),
        pytest.param(
            "a.h5", b"", "got suffix '.h5', expected .safetensors, .pt, .pth, .ckpt, .bin or .pt2; save", id="suffix"
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, out: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = refusal(CheckpointError, tmp_path / name, out)
    assert found.startswith(f"{tmp_path / name}: got ")
    assert message in found


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        pytest.param(
            nn.Linear(2, 3).state_dict(), CheckpointError, "model.pt: got only the keys weight, bias", id="none"
        ),
        pytest.param(
            changed(weight_hh_l1=None),
            WeightsError,
            "key 'weight_hh_l1': got no such key, expected (20, 5); the checkpoint is damaged",
            id="missing",
        ),
        pytest.param(
            changed(bias_hh_l0=torch.ones(19)),
            WeightsError,
            "key 'bias_hh_l0': got (19,), expected (20,); the checkpoint is",
            id="shape",
        ),
        pytest.param(
            changed(weight_ih_l1=torch.full((20, 5), torch.nan)),
            WeightsError,
            "key 'weight_ih_l1' of model.pt: got 100 of 100 values NaN or Inf, expected finite float32 values; the",
            id="nan",
        ),
        pytest.param(
            changed(bias_ih_l0=torch.full((20,), 1e300, dtype=torch.float64)),
            WeightsError,
            "key 'bias_ih_l0' of model.pt: got 20 of 20 values too large for float32, expected",
            id="too-large",
        ),
        pytest.param(
            changed(bias_ih_l0=torch.ones(20, dtype=torch.int8)),
            WeightsError,
            "key 'bias_ih_l0' of model.pt: got int8, expected float16, bfloat16, float32, float64; give",
            id="int8",
        ),
        pytest.param(
            nn.ModuleDict({"a": nn.LSTM(2, 3), "b": nn.GRU(2, 3)}).state_dict(),
            OptionError,
            "module for model.pt: got none, expected one of a (nn.LSTM), b (nn.GRU); name one as the module",
            id="several",
        ),
    ],
)
def test_a_checkpoint_that_cannot_be_exported_is_refused(
    tmp_path: Path, out: Path, tensors: dict[str, torch.Tensor], error: type[RnnxError], message: str
) -> None:
    assert refusal(error, save(tensors, tmp_path / "model.pt"), out).startswith(message)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        pytest.param(
            lstm(),
            {"form": "step"},
            "form: got step for nn.LSTM, expected encoder; use form encoder (session.step runs it one time step at",
            id="step-of-a-layer",
        ),
        pytest.param(
            lstm(),
            {"form": "unrolled", "steps": 2},
            "form: got unrolled for nn.LSTM, expected encoder",
            id="unrolled-layer",
        ),
        pytest.param(
            nn.LSTMCell(3, 5),
            {"form": "encoder"},
            "form: got encoder for nn.LSTMCell, expected step or unrolled; use form step",
            id="encoder-of-a-cell",
        ),
        pytest.param(
            nn.LSTMCell(3, 5),
            {"form": "decoder"},
            "form: got decoder, expected encoder | step | unrolled; choose one of these",
            id="form-unknown",
        ),
        pytest.param(
            nn.LSTMCell(3, 5),
            {"form": "unrolled"},
            "steps: got none, expected a whole number ≥ 1",
            id="no-steps",
        ),
        pytest.param(
            nn.LSTMCell(3, 5),
            {"form": "unrolled", "steps": -1},
            "steps: got -1, expected a whole number ≥ 1",
            id="steps--1",
        ),
        pytest.param(
            nn.LSTMCell(3, 5), {"form": "unrolled", "steps": 2.5}, "steps: got 2.5, expected a whole", id="steps-2.5"
        ),
        pytest.param(lstm(), {"steps": 3}, "steps: got 3 for form encoder, expected none", id="steps-of-encoder"),
        pytest.param(lstm(), {"opset": 16}, "opset: got 16, expected 17 to 23; leave it out for 17", id="opset-16"),
        pytest.param(lstm(), {"opset": 99}, "opset: got 99, expected 17 to 23; leave it out for 17", id="opset-99"),
        pytest.param(
            lstm(), {"module": "rnn"}, "module for LSTM: got 'rnn', expected one of (root) (nn.LSTM)", id="module"
        ),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    out: Path, module: nn.Module, options: dict[str, Any], message: str
) -> None:
    assert refusal(OptionError, module, out, **options).startswith(message)


@pytest.mark.parametrize("source", [lstm().state_dict(), 7, None], ids=["state-dict", "number", "none"])
def test_a_source_that_is_neither_path_nor_module_is_refused(out: Path, source: Any) -> None:
    assert refusal(CheckpointError, source, out) == (
        f"source: got {type(source).__name__}, expected a checkpoint's path or an nn.Module; "
        "load a state dict into its module, or save it to a file"
    )


@pytest.mark.parametrize("name", ["model.pt", "model", "model.onnx.gz", "model.ONNX"])
def test_an_output_of_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError) as caught:
        rnnx.export(lstm(), tmp_path / name)
    assert (
        str(caught.value)
        == f"output: got {tmp_path / name}, expected a file name ending in .onnx; name one, such as model.onnx"
    )
    assert contents(tmp_path) == {}


def test_an_output_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"got no such folder, expected .*; create it: mkdir -p .*gone$"):
        rnnx.export(lstm(), tmp_path / "gone" / "model.onnx")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["model.onnx", "model.golden.npz"])
def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(
        OutputError, match=rf"{name}: got a folder of that name, expected a regular file or a free name; choose another"
    ):
        rnnx.export(lstm(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def full_disk(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_: Any, **__: Any) -> NoReturn:
    raise KeyboardInterrupt


PLACES = [
    pytest.param("pathlib.Path.write_bytes", id="golden"),
    pytest.param("rnnx.graphs.onnx_writer.write_onnx", id="graph"),
    pytest.param("rnnx.graphs.onnx_writer.write_sealed", id="weights"),
    pytest.param("onnx.checker.check_model", id="checker"),
    pytest.param("rnnx.runners.candidates.load", id="load"),
    pytest.param("pathlib.Path.replace", id="rename"),
]


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_leaves_the_old_model_and_nothing_else(
    out: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before = contents(out)
    with monkeypatch.context() as broken:
        broken.setattr(place, full_disk)
        with pytest.raises(OutputError) as caught:
            rnnx.export(lstm(), out / "model.onnx")
    assert str(caught.value) == (
        f"writing {out / 'model.onnx'}: got No space left on device, expected a writable folder with enough space; "
        "free some space or choose another folder"
    )
    assert contents(out) == before


@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_leaves_the_old_model_and_nothing_else(
    out: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before = contents(out)
    with monkeypatch.context() as broken:
        broken.setattr(place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            rnnx.export(lstm(), out / "model.onnx")
    assert contents(out) == before


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_write_that_stops_halfway_leaves_nothing_behind(tmp_path: Path, part: float) -> None:
    module = nn.LSTMCell(64, 64)
    (tmp_path / "whole").mkdir()
    (tmp_path / "half").mkdir()
    whole = rnnx.export(module, tmp_path / "whole" / "model.onnx")
    assert whole.bytes > whole.golden.stat().st_size  # so that the limit stops the model in the middle
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = whole.golden.stat().st_size + int(part * (whole.bytes - whole.golden.stat().st_size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match="got File too large"):
            rnnx.export(module, tmp_path / "half" / "model.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path / "half") == {}


@pytest.mark.parametrize(
    ("package", "suffix", "purpose"),
    [
        ("torch", "pt", "reading source.pt"),
        ("safetensors", "safetensors", "reading source.safetensors"),
        ("onnx", "safetensors", "exporting to ONNX"),
        ("spox", "safetensors", "exporting to ONNX"),
    ],
)
def test_a_missing_package_names_the_pip_command(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, purpose: str
) -> None:
    source = save(lstm().state_dict(), tmp_path / f"source.{suffix}")
    monkeypatch.setitem(sys.modules, package, None)
    assert refusal(MissingExtraError, source, out) == (
        f"{purpose}: got no package {package}, expected it installed; pip install 'rnnx[export]'"
    )


def test_a_live_layers_parametrized_weights_are_what_its_next_call_uses(tmp_path: Path) -> None:
    model = nn.ModuleDict({"rnn": parametrizations.weight_norm(nn.GRU(3, 5), "weight_hh_l0"), "head": nn.Linear(5, 2)})
    report = rnnx.export(model, tmp_path / "model.onnx", ExportOptions(module="rnn"))
    assert report.contract.source.module == "rnn"
    x = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    with rnnx_runtime.load(tmp_path / "model.onnx") as session, torch.no_grad():
        np.testing.assert_allclose(session.run(x)[0], model["rnn"](torch.from_numpy(x))[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("nonlinearity", [None, "tanh", "relu"])
def test_a_plain_rnns_checkpoint_takes_the_nonlinearity_that_is_said(
    tmp_path: Path, nonlinearity: Nonlinearity | None
) -> None:
    source = save(nn.RNN(3, 5, nonlinearity="relu").state_dict(), tmp_path / "source.safetensors")
    report = rnnx.export(source, tmp_path / "model.onnx", ExportOptions(nonlinearity=nonlinearity))
    assert report.contract.layer().nonlinearity == (nonlinearity or "tanh")


def test_a_plain_rnn_in_a_module_says_its_own_nonlinearity(tmp_path: Path) -> None:
    model = nn.Sequential(nn.RNN(3, 5, nonlinearity="relu"))
    assert rnnx.export(model, tmp_path / "model.onnx").contract.layer().nonlinearity == "relu"


@pytest.mark.parametrize(
    ("module", "nonlinearity", "message"),
    [
        pytest.param(
            nn.GRU(3, 5),
            "relu",
            "nonlinearity: got it for nn.GRU, expected an nn.RNN or nn.RNNCell; leave it out",
            id="gru",
        ),
        pytest.param(
            nn.RNN(3, 5),
            "sigmoid",
            "nonlinearity: got 'sigmoid', expected tanh | relu; choose the one it was trained with",
            id="sigmoid",
        ),
    ],
)
def test_a_nonlinearity_that_does_not_fit_is_refused(
    out: Path, module: nn.Module, nonlinearity: str, message: str
) -> None:
    assert refusal(OptionError, module, out, nonlinearity=nonlinearity) == message


@pytest.mark.parametrize("package", ["onnx", "spox"])
def test_a_fresh_process_without_a_package_names_the_pip_command(tmp_path: Path, package: str) -> None:
    source = save(lstm().state_dict(), tmp_path / "source.safetensors")
    program = f"import sys; sys.modules[{package!r}] = None\nfrom rnnx.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "export", source, "-o", tmp_path / "model.onnx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"rnnx: exporting to ONNX: got no package {package}, expected it installed; pip install 'rnnx[export]'\n"
    )
    assert list(tmp_path.iterdir()) == [source]


def test_a_missing_onnxruntime_skips_its_check_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = rnnx.export(lstm(), tmp_path / "model.onnx")
    assert report.checks[2] == "values: skipped, no onnxruntime package; pip install 'rnnx[cpu]'"


def test_a_graph_that_the_checker_refuses_is_an_export_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, full_check: bool) -> None:
        if full_check:  # spox calls it too, without
            raise onnx.checker.ValidationError("bad graph")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    assert refusal(ExportError, lstm(), out) == (
        "model.onnx: got bad graph, expected a valid ONNX model; this is a defect of rnnx: report it"
    )


def test_a_graph_that_onnx_runtime_refuses_is_an_export_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise BackendError(
            "ONNX Runtime 1.0 loading model.onnx", got="opset 23", expected="a session", remedy="lower it"
        )

    monkeypatch.setattr("rnnx.runners.candidates.load", refuse)
    assert refusal(ExportError, lstm(), out) == (
        "ONNX Runtime 1.0 loading model.onnx: got opset 23, expected a session; lower it"
    )
