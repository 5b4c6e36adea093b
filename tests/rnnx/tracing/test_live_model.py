"""A module at hand again: called as its contract says, and refused where it is another than the exported one."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.called_models import Scaled, Streamed, Swapped, Variadic
from tests.rnnx.tracing.eager_truth import eager_outputs, tensors_of
from tests.rnnx.tracing.small_models import PackedRowsModel, Tagger, lengths_of, sequence, tagger_inputs
from torch import Tensor, nn

from rnnx.errors import CheckpointError, ExportError, FactoryError
from rnnx.modules.given_module import GivenModule
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.live_model import LiveModel, opened_model
from rnnx.tracing.preparation import as_float32
from rnnx.tracing.weights_digest import weights_sha256
from rnnx.truths.cases import Case
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, read_model_golden
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError, RnnxError

Exported = tuple[Contract, ModelTruth]


def _exported(module: nn.Module, inputs: Any, folder: Path, **options: Any) -> Exported:
    contract = export_model(module, inputs, folder / "model.onnx", ModelOptions(**options)).contract
    return contract, read_model_golden(golden_path(folder / "model.onnx"), contract)


def _opened(module: nn.Module, exported: Exported, own: Any = None, checkpoint: Path | None = None) -> LiveModel:
    contract, golden = exported
    given = GivenModule(module=module, source="made:here", checkpoint=checkpoint, example_inputs=own)
    with opened_model(given, contract, golden.example) as live:
        return live


def _refusal(module: nn.Module, exported: Exported, **given: Any) -> RnnxError:
    with pytest.raises(RnnxError) as caught:
        _opened(module, exported, **given)
    return caught.value


def _assert_gives_golden_results(live: LiveModel, golden: ModelTruth) -> None:
    """Every output of every case, in float64, and in float32 by PyTorch's row, as at the export."""
    candidate = live.candidate("pytorch-cpu")
    for entry in golden.entries:
        truth = live.eager().outputs(entry.case.feeds, torch.float64)
        single = candidate.outputs(entry.case)
        assert truth.keys() == single.keys() == entry.truth.keys()
        for name, value in entry.truth.items():
            np.testing.assert_allclose(truth[name], value, rtol=0, atol=1e-12)
            np.testing.assert_allclose(single[name], value, rtol=0, atol=1e-5)


def _streamed_inputs() -> tuple[Tensor, tuple[Tensor, Tensor]]:
    return sequence(2, 4), (torch.zeros(1, 2, 8), torch.zeros(1, 2, 8))


CALLS = {
    "by-name": (Tagger, tagger_inputs(2, 4), {}),
    "results-by-name": (PackedRowsModel, (sequence(2, 4), lengths_of(2, 4)), {}),
    "nested-state": (Streamed, _streamed_inputs(), {}),
    "lifted-state": (Streamed, (sequence(2, 4),), {"stateful": True}),
    "renamed": (Tagger, tagger_inputs(2, 4), {"input_names": ("words", "sizes"), "output_names": ("tags",)}),
    "variadic": (Variadic, (sequence(2, 4), torch.zeros(2, 4, 8)), {"input_names": ("a", "b")}),
    "keyword": (Scaled, {"x": sequence(2, 4), "bias": torch.zeros(8)}, {}),
    "static": (Scaled, (sequence(2, 4),), {"static": True}),
}


@pytest.mark.parametrize(("kind", "inputs", "options"), CALLS.values(), ids=CALLS)
def test_a_module_is_called_as_its_contract_says(
    kind: type[nn.Module], inputs: Any, options: Mapping[str, Any], tmp_path: Path
) -> None:
    module = kind().eval()
    exported = _exported(module, inputs, tmp_path, **options)
    _assert_gives_golden_results(_opened(module, exported), exported[1])


def test_a_constant_of_the_call_comes_from_the_factorys_example(tmp_path: Path) -> None:
    module, inputs = Scaled().eval(), (sequence(2, 4), 3.0)
    exported = _exported(module, inputs, tmp_path)
    _assert_gives_golden_results(_opened(module, exported, own=inputs), exported[1])
    error = _refusal(module, exported)
    assert isinstance(error, FactoryError)
    assert "off the golden file's" in error.got
    assert "(module, example_inputs)" in error.remedy


def test_an_example_of_another_call_is_not_followed(tmp_path: Path) -> None:
    module = Streamed().eval()
    exported = _exported(module, _streamed_inputs(), tmp_path)
    _assert_gives_golden_results(_opened(module, exported, own=(sequence(2, 4),)), exported[1])
    _assert_gives_golden_results(_opened(module, exported, own=("x", 3)), exported[1])


def _swapped(module: nn.Module, change: Any) -> nn.Module:
    other = Swapped(change).eval()
    other.load_state_dict(module.state_dict())
    return other


def test_a_module_that_does_not_take_the_contracts_inputs_is_refused(tmp_path: Path) -> None:
    module = Scaled().eval()
    exported = _exported(module, {"x": sequence(2, 4), "bias": torch.zeros(8)}, tmp_path)
    error = _refusal(_swapped(module, lambda output: output), exported)
    assert isinstance(error, FactoryError)
    assert (error.subject, error.expected) == ("Swapped.forward(x)", "x, bias")


CHANGES = {
    "other-values": (lambda output: output + 1e-4, "output output of the example 0.0001 off the golden file's"),
    "other-shape": (lambda output: output[:, -1], "of shape (2, 8), in the golden file (2, 4, 8)"),
    "other-results": (lambda output: (output, output), "other results than output: the model has 2"),
    "no-tensor": (lambda output: output.tolist(), "result[0][0][0] of the model: a float"),
    "failing": (lambda output: output @ output, "RuntimeError: "),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_changed_code_with_the_same_weights_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    module = Scaled().eval()
    error = _refusal(_swapped(module, change), _exported(module, (sequence(2, 4),), tmp_path))
    assert isinstance(error, FactoryError)
    assert error.subject == "model made:here"
    assert said in error.got


def test_code_that_is_the_same_but_for_rounding_is_taken(tmp_path: Path) -> None:
    module = Scaled().eval()
    exported = _exported(module, (sequence(2, 4),), tmp_path)
    _opened(_swapped(module, lambda output: output * (1 + 1e-10)), exported)


def test_other_integers_are_refused(tmp_path: Path) -> None:
    module = Scaled().eval()
    exported = _exported(_swapped(module, lambda output: output.argmax(-1)), (sequence(2, 4),), tmp_path)
    error = _refusal(_swapped(module, lambda output: (-output).argmax(-1)), exported)
    assert "with other values than in the golden file" in error.got


def test_a_lifted_state_that_the_module_has_not_is_refused(tmp_path: Path) -> None:
    module = Streamed().eval()
    exported = _exported(module, (sequence(2, 4),), tmp_path, stateful=True)

    def forward(x: Tensor) -> Any:
        return Streamed.forward(module, x, (x.sum() + torch.zeros(1, len(x), 8), torch.zeros(1, len(x), 8)))

    module.forward = forward  # type: ignore[method-assign, assignment]
    assert "layer 'lstm', which starts from values of x" in _refusal(module, exported).got


def test_a_state_that_forward_may_be_given_is_lifted_where_the_export_lifted_it(tmp_path: Path) -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(5, 8, batch_first=True)

        def forward(self, x: Tensor, h: Tensor | None = None) -> Any:
            return self.gru(x, h)

    module = Optional().eval()
    exported = _exported(module, (sequence(2, 4),), tmp_path, stateful=True)
    assert [pair.output for pair in _opened(module, exported).lifted.pairs] == ["hn"]


@pytest.mark.parametrize(
    ("checkpoint", "kind", "subject"),
    [
        pytest.param(None, FactoryError, "model made:here", id="factory"),
        pytest.param(Path("best.pt"), CheckpointError, "checkpoint best.pt in made:here", id="checkpoint"),
    ],
)
def test_other_weights_are_refused(
    checkpoint: Path | None, kind: type[RnnxError], subject: str, tmp_path: Path
) -> None:
    module = Scaled().eval()
    exported = _exported(module, (sequence(2, 4),), tmp_path)
    with torch.no_grad():
        module.gru.get_parameter("bias_hh_l0")[3] += 1e-6
    error = _refusal(module, exported, checkpoint=checkpoint)
    assert (type(error), error.subject) == (kind, subject)
    assert exported[0].source.weights_sha256[:12] in error.expected


def test_a_module_in_training_mode_is_refused(tmp_path: Path) -> None:
    module = Scaled().eval()
    exported = _exported(module, (sequence(2, 4),), tmp_path)
    assert isinstance(_refusal(module.train(), exported), ExportError)


def test_a_module_of_another_dtype_is_taken_as_it_was_exported(tmp_path: Path) -> None:
    module = Scaled().eval().to(torch.bfloat16)
    exported = _exported(module, (sequence(2, 4).to(torch.bfloat16),), tmp_path)
    _assert_gives_golden_results(_opened(module, exported), exported[1])
    assert next(module.parameters()).dtype == torch.bfloat16


class Remembering(nn.Module):
    """Keeps its last result as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.gru(x)[0]
        return self.last * 1


def test_attributes_that_calls_set_are_as_they_were_after_the_block(tmp_path: Path) -> None:
    module = Remembering().eval()
    contract, golden = _exported(module, (sequence(2, 4),), tmp_path)
    before = copy.deepcopy(module.state_dict())
    given = GivenModule(module=module, source="made:here", checkpoint=None, example_inputs=None)
    with opened_model(given, contract, golden.example) as live:
        live.candidate("pytorch-cpu").outputs(golden.example.case)
        assert vars(module)["last"] is not None
    assert vars(module)["last"] is None
    assert all(value.equal(before[key]) for key, value in module.state_dict().items())


def test_truth_and_pytorchs_row_are_the_modules_own(tmp_path: Path) -> None:
    module = Tagger().eval()
    live = _opened(module, _exported(module, tagger_inputs(2, 4), tmp_path))
    tokens, lengths = tagger_inputs(3, 9)
    (double,) = eager_outputs(module, {"tokens": tokens, "lengths": lengths}, torch.float64)
    (single,) = eager_outputs(module, {"tokens": tokens, "lengths": lengths}, torch.float32)
    feeds = {"tokens": tokens.numpy(), "lengths": lengths.numpy()}
    np.testing.assert_array_equal(live.eager().outputs(feeds, torch.float64)["output"], double)
    np.testing.assert_array_equal(
        live.candidate("pytorch-cpu").outputs(Case(name="own", feeds=feeds))["output"], single
    )


def test_a_timed_call_computes_the_results(tmp_path: Path) -> None:
    module = Streamed().eval()
    contract, golden = _exported(module, (sequence(2, 4),), tmp_path, stateful=True)
    candidate = _opened(module, (contract, golden)).candidate("pytorch-cpu")
    entry = golden.entries[1]
    found = candidate.prepare(entry.case.feeds)()
    assert isinstance(found, dict)
    assert len(tensors_of(found)) == len(contract.outputs)
    for name, truth in entry.truth.items():
        np.testing.assert_allclose(found[name].numpy(), truth, rtol=0, atol=1e-5)


def test_what_the_module_raises_is_a_failed_case(tmp_path: Path) -> None:
    module = Tagger().eval()
    contract, golden = _exported(module, tagger_inputs(2, 4), tmp_path)
    feeds = {**golden.example.case.feeds, "tokens": np.full((2, 4), 20)}
    with pytest.raises(BackendError, match=r"pytorch-cpu: got IndexError: index out of range"):
        _opened(module, (contract, golden)).candidate("pytorch-cpu").outputs(Case(name="own", feeds=feeds))


@pytest.mark.gpu
def test_pytorchs_row_runs_on_a_gpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"no GPU for torch {torch.__version__}")
    module = Tagger().eval()
    contract, golden = _exported(module, tagger_inputs(2, 4), tmp_path)
    candidate = _opened(module, (contract, golden)).candidate("pytorch-cuda")
    for entry in golden.entries:
        found = candidate.outputs(entry.case)["output"]
        np.testing.assert_allclose(found, entry.truth["output"], rtol=0, atol=1e-5)
    assert all(own.device.type == "cpu" for own in module.parameters())


def test_the_digest_is_of_names_shapes_and_values() -> None:
    torch.manual_seed(20601)
    module = nn.Sequential(nn.GRU(5, 8), nn.BatchNorm1d(8))
    first = weights_sha256(module)
    assert weights_sha256(copy.deepcopy(module)) == first
    assert weights_sha256(as_float32(module.to(torch.float64))[0]) == first
    module[1].get_buffer("running_mean")[0] += 1
    assert weights_sha256(module) != first
    assert weights_sha256(nn.Sequential(nn.GRU(5, 8))) != weights_sha256(nn.GRU(5, 8))
