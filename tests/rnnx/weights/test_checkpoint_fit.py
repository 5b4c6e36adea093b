import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from rnnx.errors import CheckpointError
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.checkpoint_fit import fitting_state_dicts, load_state
from rnnx.weights.torch_tensors import TorchCheckpoint

SEED = 20561


class Tagger(nn.Module):
    """Tied weights, a batch norm with its integer count, and a buffer that the state dict leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.rnn = nn.GRU(8, 8)
        self.head = nn.Linear(8, 4, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.zeros(3), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(self.rnn(self.embedding(tokens))[0])
        return scores


def tagger(seed: int) -> Tagger:
    torch.manual_seed(seed)
    return Tagger().eval()


def state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def loaded(content: Any, tmp_path: Path, module: nn.Module | None = None) -> tuple[nn.Module, str]:
    torch.save(content, tmp_path / "best.pt")
    module = tagger(SEED + 1) if module is None else module
    return module, load_state(module, open_checkpoint(tmp_path / "best.pt")).prefix


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(first).values(), state(second).values(), strict=True))


def prefixed(lead: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {lead + key: value for key, value in tensors.items()}


WRAPPERS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "plain": (lambda s: s, ""),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, "state_dict"),
    "model": (lambda s: {"model": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, "model"),
    "model_state_dict": (lambda s: {"model_state_dict": s}, "model_state_dict"),
    "other-name": (lambda s: {"weights": {"net": s}}, "weights.net"),
    "data-parallel": (lambda s: prefixed("module.", s), ""),
    "compiled": (lambda s: prefixed("_orig_mod.", s), ""),
    "compiled-parallel": (lambda s: {"model": prefixed("module._orig_mod.", s)}, "model"),
    "compiled-part": (lambda s: {key.replace("rnn.", "rnn._orig_mod."): value for key, value in s.items()}, ""),
    "averaged": (lambda s: {**prefixed("module.", s), "n_averaged": torch.tensor(7)}, ""),
    "lightning": (
        lambda s: {"state_dict": {**prefixed("model.", s), "loss.weight": torch.ones(4)}, "epoch": 3},
        "state_dict.model",
    ),
    "beside-the-average": (lambda s: {"model": s, "model_ema": prefixed("module.", s)}, "model"),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_usual_wrapper_is_looked_through(tmp_path: Path, wrapper: str) -> None:
    wrap, expected = WRAPPERS[wrapper]
    trained = tagger(SEED)
    module, prefix = loaded(wrap(state(trained)), tmp_path)
    assert same(module, trained)
    assert prefix == expected


def test_a_wrapped_module_takes_a_plain_checkpoint(tmp_path: Path) -> None:
    trained = tagger(SEED)
    module, _ = loaded(state(trained), tmp_path, nn.DataParallel(tagger(SEED + 1)))
    assert same(module, trained)


def test_an_attribute_called_module_is_no_wrapper_where_it_matters(tmp_path: Path) -> None:
    trained, module = (nn.ModuleDict({"module": nn.GRU(2, 3), "other": nn.GRU(2, 3)}) for _ in range(2))
    trained["module"].weight = nn.Parameter(torch.ones(1))
    module["module"].weight = nn.Parameter(torch.zeros(1))
    trained.register_parameter("weight", nn.Parameter(torch.full((1,), 2.0)))
    module.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    loaded(state(trained), tmp_path, module)
    assert same(module, trained)


def test_tied_weights_need_one_of_their_keys(tmp_path: Path) -> None:
    trained, module = tagger(SEED), tagger(SEED + 1)
    save_model(trained, str(tmp_path / "best.safetensors"))
    checkpoint = open_checkpoint(tmp_path / "best.safetensors")
    assert len(checkpoint.tensors) < len(module.state_dict())
    load_state(module, checkpoint)
    assert same(module, trained)


def test_tied_weights_that_differ_are_refused(tmp_path: Path) -> None:
    content = state(tagger(SEED))
    content["head.weight"] += 1
    with pytest.raises(CheckpointError, match=r"got different values for embedding\.weight and head\.weight"):
        loaded(content, tmp_path)


def test_another_float_type_is_cast_to_the_modules_own(tmp_path: Path) -> None:
    trained = tagger(SEED)
    module, _ = loaded({key: v.double() if v.is_floating_point() else v for key, v in state(trained).items()}, tmp_path)
    assert same(module, trained)
    assert module.get_parameter("rnn.weight_ih_l0").dtype == torch.float32


def test_integers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    trained = tagger(SEED)
    trained.get_buffer("norm.num_batches_tracked").fill_(2**40 + 1)
    module, _ = loaded(state(trained), tmp_path)
    assert int(module.get_buffer("norm.num_batches_tracked")) == 2**40 + 1


def test_a_count_of_training_may_be_missing(tmp_path: Path) -> None:
    content = state(tagger(SEED))
    del content["norm.num_batches_tracked"]
    module, _ = loaded(content, tmp_path)
    assert same(module, tagger(SEED))


def test_a_buffer_outside_the_state_dict_is_loaded_where_the_file_has_it(tmp_path: Path) -> None:
    module, _ = loaded({**state(tagger(SEED)), "mask": torch.ones(3)}, tmp_path)
    assert module.get_buffer("mask").tolist() == [1, 1, 1]


def test_a_module_without_values_gets_the_checkpoints_own(tmp_path: Path) -> None:
    with torch.device("meta"):
        module = nn.GRU(2, 3)
    trained = nn.GRU(2, 3)
    loaded(state(trained), tmp_path, module)
    assert same(module, trained)


def test_a_plain_attribute_is_loaded_where_the_file_has_it_and_an_example_is_not(tmp_path: Path) -> None:
    module = tagger(SEED + 1)
    module.encoder_scale = torch.zeros(2)  # as TorchScript saves it, and a state dict does not
    module.example_input_array = torch.zeros(4)
    content = {**state(tagger(SEED)), "encoder_scale": torch.ones(2), "example_input_array": torch.ones(5)}
    loaded(content, tmp_path, module)
    assert module.encoder_scale.tolist() == [1, 1]
    assert module.example_input_array.tolist() == [0, 0, 0, 0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_archive_fits_its_module(tmp_path: Path) -> None:
    trained, module = tagger(SEED), tagger(SEED + 1)
    trained.get_buffer("mask").fill_(5)
    torch.jit.save(torch.jit.script(trained), tmp_path / "best.pt")
    load_state(module, open_checkpoint(tmp_path / "best.pt"))
    assert same(module, trained)
    assert module.get_buffer("mask").tolist() == [5, 5, 5]


def refusal(content: dict[str, Any], tmp_path: Path, module: nn.Module | None = None) -> CheckpointError:
    """The error, after which the module is what it was."""
    module = tagger(SEED + 1) if module is None else module
    before = copy.deepcopy(module)
    with pytest.raises(CheckpointError) as caught:
        loaded(content, tmp_path, module)
    assert same(module, before)
    assert caught.value.subject == f"best.pt for {type(module).__name__}"
    return caught.value


def test_missing_unexpected_and_other_shapes_are_listed_together(tmp_path: Path) -> None:
    content = state(tagger(SEED))
    del content["rnn.bias_ih_l0"]
    content["extra.weight"] = torch.ones(1)
    content["rnn.weight_hh_l0"] = torch.ones(24, 9)
    error = refusal({"state_dict": content}, tmp_path)
    assert error.got == (
        "1 missing (rnn.bias_ih_l0); 1 unexpected (state_dict.extra.weight); "
        "1 of another shape or kind (state_dict.rnn.weight_hh_l0 (24, 9) float32 for (24, 8) float32)"
    )


def test_the_first_ten_of_each_are_listed(tmp_path: Path) -> None:
    module = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(14))
    content = {f"other.{index}": torch.ones(1) for index in range(12)}
    error = refusal({**content, "0.weight": torch.ones(2, 2)}, tmp_path, module)
    assert error.got == (
        f"13 missing ({', '.join(f'{index}.weight' for index in range(1, 11))} and 3 more); "
        f"12 unexpected ({', '.join(f'other.{index}' for index in range(10))} and 2 more)"
    )


def test_a_checkpoint_of_something_else_lists_what_it_has(tmp_path: Path) -> None:
    error = refusal({"state_dict": {"conv.weight": torch.ones(1)}}, tmp_path)
    assert error.got.startswith("10 missing (embedding.weight, ")
    assert error.got.endswith("1 unexpected (state_dict.conv.weight)")


def test_floats_are_not_cut_off_to_integers(tmp_path: Path) -> None:
    content = state(tagger(SEED)) | {"norm.num_batches_tracked": torch.tensor(1.5)}
    assert "num_batches_tracked () float32 for () int64" in refusal(content, tmp_path).got


def test_two_parts_that_fit_are_refused(tmp_path: Path) -> None:
    content = {"student": state(tagger(SEED)), "teacher": state(tagger(SEED + 2))}
    error = refusal(content, tmp_path)
    assert error.got == "state dicts that fit: 'student' and 'teacher'"
    assert error.remedy == "give its name as state_dict: student"


@pytest.mark.parametrize("name", ["model", "model_ema", "average"])
def test_the_state_dict_that_is_named_is_loaded(tmp_path: Path, name: str) -> None:
    trained = {place: tagger(SEED + place) for place in range(3)}
    places = {"model": state(trained[0]), "model_ema": state(trained[1]), "average": {"net": state(trained[2])}}
    torch.save(places, tmp_path / "best.pt")
    module, checkpoint = tagger(SEED + 9), open_checkpoint(tmp_path / "best.pt")
    assert fitting_state_dicts(module, checkpoint) == ["model", "model_ema", "average.net"]
    load_state(module, checkpoint, name)
    assert same(module, trained[[*places].index(name)])


def test_the_trained_weights_are_not_taken_for_their_average_in_silence(tmp_path: Path) -> None:
    error = refusal({"model": state(tagger(SEED)), "ema": state(tagger(SEED + 1))}, tmp_path)
    assert error.got == "state dicts that fit: 'ema' and 'model'"


def test_a_state_dict_of_another_name_is_refused(tmp_path: Path) -> None:
    torch.save({"model": state(tagger(SEED))}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=r"got state dicts that fit: 'model'; none of them is 'ema'"):
        load_state(tagger(SEED), open_checkpoint(tmp_path / "best.pt"), "ema")


def test_of_two_parts_that_miss_as_much_what_is_missing_is_said(tmp_path: Path) -> None:
    parts = [{key: value for key, value in state(tagger(SEED)).items() if key != "rnn.bias_ih_l0"} for _ in range(2)]
    error = refusal({"student": parts[0], "teacher": parts[1]}, tmp_path)
    assert error.got.startswith("1 missing (rnn.bias_ih_l0)")


def test_a_key_that_is_no_text_is_shown_on_one_line(tmp_path: Path) -> None:
    error = refusal({**state(tagger(SEED)), "a\nb\x1b[2J": torch.ones(1)}, tmp_path)
    assert error.got == r"1 unexpected ('a\nb\x1b[2J')"


def test_of_two_parts_the_one_of_the_modules_shapes_is_loaded(tmp_path: Path) -> None:
    content = nn.ModuleDict({"encoder": nn.GRU(2, 3), "decoder": nn.GRU(4, 5)}).state_dict()
    module = nn.GRU(4, 5)
    assert loaded(content, tmp_path, module)[1] == "decoder"


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch says that lazy modules are new
def test_a_lazy_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="got a lazy parameter"):
        load_state(nn.LazyLinear(3), TorchCheckpoint("best.pt", {"weight": torch.ones(3, 2)}))


@pytest.mark.parametrize(
    ("module", "value", "message"),
    [
        pytest.param(
            nn.Linear(1, 2, bias=False), torch.tensor([[torch.inf], [2.0]]).double(), None, id="infinite-before"
        ),
        pytest.param(
            nn.Linear(1, 2, bias=False),
            torch.tensor([[1e300], [1]], dtype=torch.float64),
            "got float64 values that float32 cannot hold",
            id="float64",
        ),
        pytest.param(
            nn.Linear(1, 2, bias=False).half(), torch.full((2, 1), 1e6), "float32 values that float16", id="float16"
        ),
        pytest.param(
            nn.Linear(1, 2, bias=False), torch.ones(2, 1) * 1j, r"weight \(2, 1\) complex64 for \(2, 1\)", id="complex"
        ),
        pytest.param(nn.Linear(1, 2, bias=False), torch.zeros(2, 1, device="meta"), "meta device", id="no-values"),
    ],
)
def test_values_that_would_be_lost_are_refused(
    tmp_path: Path, module: nn.Module, value: Tensor, message: str | None
) -> None:
    if message is None:
        assert torch.equal(loaded({"weight": value}, tmp_path, module)[0].state_dict()["weight"].double(), value)
        return
    before = state(module)
    with pytest.raises(CheckpointError, match=message):
        loaded({"weight": value}, tmp_path, module)
    assert torch.equal(state(module)["weight"], before["weight"])


@pytest.mark.parametrize(
    ("value", "buffer", "message"),
    [
        pytest.param([2**40, 1], torch.int32, "int64 values that int32 cannot hold", id="int32"),
        pytest.param([7, 0], torch.bool, "int64 values that bool cannot hold", id="bool"),
    ],
)
def test_whole_numbers_that_would_become_others_are_refused(
    tmp_path: Path, value: list[int], buffer: torch.dtype, message: str
) -> None:
    module = nn.Module()
    module.register_buffer("table", torch.zeros(2, dtype=buffer))
    with pytest.raises(CheckpointError, match=message):
        loaded({"table": torch.tensor(value)}, tmp_path, module)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(torch.eye(2).to(torch.float8_e4m3fn), id="float8"),
        pytest.param(torch.eye(2).to(torch.int64), id="whole-numbers"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tensors_of_other_kinds_are_loaded_as_the_modules_own(tmp_path: Path, value: Tensor, device: str) -> None:
    module, _ = loaded({"weight": value}, tmp_path, nn.Linear(2, 2, bias=False, device=device))
    assert torch.equal(state(module)["weight"], torch.eye(2))


@pytest.mark.parametrize("keys", [("embedding.weight",), ("embedding.weight", "head.weight")], ids=["one-key", "both"])
def test_ties_of_a_module_without_values_stay(tmp_path: Path, keys: tuple[str, ...]) -> None:
    with torch.device("meta"):
        module = Tagger()
    trained = state(tagger(SEED))
    missing = {"embedding.weight", "head.weight"} - set(keys)
    loaded({key: value for key, value in trained.items() if key not in missing}, tmp_path, module)
    assert module.head.weight is module.embedding.weight
    assert torch.equal(module.head.weight, trained["head.weight"])


def test_tied_weights_may_both_be_nan(tmp_path: Path) -> None:
    content = state(tagger(SEED))
    content["embedding.weight"] = torch.full((4, 8), float("nan"))
    content["head.weight"] = content["embedding.weight"].clone()
    assert loaded(content, tmp_path)[0].get_parameter("head.weight").isnan().all()


def test_tied_weights_of_two_precisions_are_the_same_tensor(tmp_path: Path) -> None:
    content = state(tagger(SEED))
    content["head.weight"] = content["head.weight"].double()
    assert same(loaded(content, tmp_path)[0], tagger(SEED))


def test_the_whole_checkpoint_comes_before_a_part_of_it(tmp_path: Path) -> None:
    content = {**state(tagger(SEED)), **prefixed("model.", state(tagger(SEED + 2)))}
    with pytest.raises(CheckpointError, match=r"8 unexpected|unexpected \(model\."):
        loaded(content, tmp_path)


def test_of_two_misfits_the_one_with_more_fitting_shapes_is_described(tmp_path: Path) -> None:
    fitting = {"norm.weight": torch.ones(8), "norm.bias": torch.ones(8)}
    other = {key: torch.ones(1) for key in state(tagger(SEED))}
    with pytest.raises(CheckpointError) as raised:
        loaded({"near": fitting, "far": other}, tmp_path)
    assert "missing" in str(raised.value)
    assert "of another shape" not in str(raised.value)


def test_views_of_one_storage_are_not_taken_for_tied(tmp_path: Path) -> None:
    module = nn.Module()
    storage = torch.zeros(4)
    module.register_buffer("first", storage[:2])
    module.register_buffer("all", storage)
    with pytest.raises(CheckpointError, match=r"1 missing \(first\)"):
        loaded({"all": torch.ones(4)}, tmp_path, module)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # deprecated, and still in files
def test_a_quantized_tensor_is_loaded_as_floats(tmp_path: Path) -> None:
    value = torch.quantize_per_tensor(torch.eye(2), 0.5, 0, torch.qint8)
    module, _ = loaded({"weight": value}, tmp_path, nn.Linear(2, 2, bias=False))
    assert torch.equal(state(module)["weight"], torch.eye(2))


def test_of_two_misfits_without_a_fitting_shape_the_one_with_more_names_is_described(tmp_path: Path) -> None:
    many = {key: torch.ones(1, 1, 1, 1) for key in state(tagger(SEED)) if key != "norm.num_batches_tracked"}
    with pytest.raises(CheckpointError) as raised:
        loaded({"a": {"norm.weight": torch.ones(1)}, "longer": many}, tmp_path)
    assert f"got {len(many)} of another shape or kind (embedding.weight" in str(raised.value).replace("longer.", "")


def test_a_buffer_under_two_names_is_loaded_by_either(tmp_path: Path) -> None:
    module, shared = nn.Linear(1, 1), torch.zeros(2)
    module.register_buffer("first", shared, persistent=False)
    module.register_buffer("second", shared, persistent=False)
    loaded({**state(nn.Linear(1, 1)), "second": torch.ones(2)}, tmp_path, module)
    assert shared.tolist() == [1, 1]
