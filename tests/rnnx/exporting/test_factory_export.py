from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rnnx_runtime
from rnnx.errors import CheckpointError, ExportError, OptionError
from rnnx.exporting.factory_export import FactoryOptions, export_factory, prepare_model
from rnnx.modules.factories import importable, make_model
from rnnx.modules.model_options import ModelOptions

FIXTURES = Path(__file__).parents[2] / "fixtures"
TAGGER = "factories.taggers:make_tagger"
INPUTS = ("tokens:int64:B,T:0..10", "lengths:int64:B")


@pytest.fixture(autouse=True)
def in_the_fixtures() -> Iterator[None]:
    with importable(FIXTURES):
        yield


@pytest.fixture
def trained(tmp_path: Path) -> nn.Module:
    """A tagger with the weights of `best.pt`."""
    torch.manual_seed(20571)
    module = make_model(TAGGER).module.eval()
    torch.save({"state_dict": module.state_dict()}, tmp_path / "best.pt")
    return module


def test_the_exported_model_computes_what_the_checkpoint_was_trained_to(trained: nn.Module, tmp_path: Path) -> None:
    options = FactoryOptions(checkpoint=tmp_path / "best.pt", inputs=INPUTS)
    report = export_factory(TAGGER, tmp_path / "model.onnx", options)
    assert report.weights == "11 tensors of best.pt, under 'state_dict'"
    assert report.source == f"{TAGGER} · Tagger"
    tokens, lengths = np.arange(20).reshape(4, 5) % 11, np.array([5, 1, 3, 5])
    with rnnx_runtime.load(report.path) as session, torch.no_grad():
        outputs, state = session.run({"tokens": tokens, "lengths": lengths})
        expected = trained(torch.from_numpy(tokens), torch.from_numpy(lengths))
    assert not state
    np.testing.assert_allclose(outputs["output"], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_described_dims_name_the_contracts(trained: nn.Module, tmp_path: Path) -> None:
    inputs = ("tokens:int64:N,L:0..10", "lengths:int64:N:1..L")
    contract = export_factory(TAGGER, tmp_path / "model.onnx", FactoryOptions(inputs=inputs)).contract
    assert [(spec.name, spec.dims) for spec in contract.inputs] == [("tokens", ("N", "L")), ("lengths", ("N",))]
    assert contract.lengths == ("lengths",)


def test_a_static_export_has_the_sizes_that_were_set(tmp_path: Path) -> None:
    inputs = ("tokens:int64:B=2,T=6:0..10", "lengths:int64:B")
    options = FactoryOptions(inputs=inputs, model=ModelOptions(static=True))
    contract = export_factory(TAGGER, tmp_path / "model.onnx", options).contract
    assert [spec.dims for spec in contract.inputs] == [(2, 6), (2,)]


def test_training_mode_ends_and_is_noted() -> None:
    prepared = prepare_model(TAGGER, FactoryOptions(inputs=INPUTS))
    assert not prepared.module.training
    assert prepared.notes == ("put into evaluation mode: 5 of its modules were in training mode",)
    assert prepare_model("factories.taggers:scorer", FactoryOptions()).notes == ()


def test_the_factorys_example_goes_before_the_modules_own_and_a_description_before_both() -> None:
    own = prepare_model("factories.taggers:make_scorer", FactoryOptions()).example_inputs
    assert isinstance(own, tuple)
    assert own[0].shape == (3, 19, 5)
    given = prepare_model("factories.taggers:make_tagger_with_example", FactoryOptions()).example_inputs
    assert isinstance(given, tuple)
    assert given[0].shape == (3, 7)
    described = prepare_model("factories.taggers:make_scorer", FactoryOptions(inputs=("x:float32:B=2,T=4,5",)))
    assert isinstance(described.example_inputs, dict)
    assert described.example_inputs["x"].shape == (2, 4, 5)


def test_no_example_is_refused_with_the_parameters_of_forward() -> None:
    with pytest.raises(OptionError) as caught:
        prepare_model(TAGGER, FactoryOptions())
    assert caught.value.got == "none for forward(tokens, lengths)"
    assert "(--input)" in caught.value.remedy


def test_a_wrong_description_is_refused_before_the_factory_runs() -> None:
    with pytest.raises(OptionError, match="inputs x"):
        prepare_model("factories.taggers:raises", FactoryOptions(inputs=("x",)))


def test_a_name_that_forward_does_not_have_is_refused(tmp_path: Path) -> None:
    options = FactoryOptions(inputs=("words:int64:B,T", "lengths:int64:B"))
    with pytest.raises(OptionError, match=r"example inputs: got .*tokens"):
        export_factory(TAGGER, tmp_path / "model.onnx", options)


def test_inputs_that_fail_in_eager_mode_show_the_eager_error(tmp_path: Path) -> None:
    options = FactoryOptions(inputs=("tokens:int64:B,T:0..999", "lengths:int64:B"))
    with pytest.raises(ExportError, match=r"IndexError: index out of range.*self\.embedding\(tokens\)"):
        export_factory(TAGGER, tmp_path / "model.onnx", options)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.save(nn.LSTM(5, 8).state_dict(), tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=r"best\.pt for Tagger: got 11 missing \(embedding\.weight"):
        prepare_model(TAGGER, FactoryOptions(checkpoint=tmp_path / "best.pt", inputs=INPUTS))
