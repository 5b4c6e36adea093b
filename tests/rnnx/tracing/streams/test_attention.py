"""Attention over a bounded window of frames streams, however it is written; without a bound it is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.streams.attention_models import Conformer, Fused, Multihead, Written
from tests.rnnx.tracing.streams.proved_streams import proved
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.errors import StreamingError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.streams.masks import Reach, reach_of, settled_reach, table_of

FRAMES = (2, 12, 8)

MODELS: dict[str, tuple[nn.Module, int]] = {
    "band": (Fused("band"), 0),
    "chunks": (Fused("chunks"), 3),
    "sloped": (Fused("sloped"), 0),
    "rotary": (Fused("rotary"), 0),
    **{kind: (Written(kind), 0) for kind in ("tril", "triu-added", "buffer", "in-place", "biased", "decayed")},
    "later-frames": (Written("later-frames"), 2),
    "conformer": (Conformer(), 0),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_window_of_frames_streams_however_it_is_written(name: str) -> None:
    module, delay = MODELS[name]
    contract = proved(module, FRAMES)
    assert contract.streaming.delays == ({"output": delay} if delay else {})
    assert contract.streaming.position


@pytest.mark.parametrize("kind", ["plain", "weights"])
def test_multihead_attention_streams_with_its_layer(kind: str) -> None:
    contract = proved(Multihead(kind), (2, 12, 4))
    assert [spec.name for spec in contract.state_specs][:2] == ["h0", "attention_cache"]


def test_attention_over_the_frames_of_each_band_streams() -> None:
    contract = proved(Multihead("rows"), (2, 12, 3, 4), {"x": ("B", "T", None, None)})
    assert contract.state_specs[0].dims == ("B", 3, 2, 3, 2)


@pytest.mark.parametrize(
    ("module", "shape", "told"),
    [
        (Fused("causal"), FRAMES, "lets a frame see all earlier ones: bound its window"),
        (Written("tril-alone"), FRAMES, "lets a frame see all earlier ones: bound its window"),
        (Written("full"), FRAMES, "lets a frame see all"),
        (Fused("strictly-earlier"), FRAMES, "lets a frame see none at all"),
        (Fused("of-values"), FRAMES, "has a mask that depends on the values of inputs"),
        (Multihead("weights-out"), (2, 12, 4), "relates every frame to every other"),
    ],
    ids=["causal", "tril", "full", "strictly-earlier", "of-values", "weights"],
)
def test_attention_without_a_bound_is_refused_by_its_line(module: nn.Module, shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(StreamingError, match=told) as refusal:
        proved(module, shape)
    assert "attention_models.py, line" in str(refusal.value)


def test_a_file_gives_what_the_module_gives_from_the_first_frame_to_the_last(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Fused("chunks").eval(), torch.randn(1, 11, 8)
    options = ModelOptions(stateful=True)
    rnnx.export(module, tmp_path / "m.onnx", options, example_inputs=(torch.randn(FRAMES),))
    with rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu") as session:
        stream = session.stream()
        found = np.concatenate([*(stream.push(frame) for frame in x[0].numpy()), stream.flush()])
    with torch.no_grad():
        np.testing.assert_allclose(found, module(x)[0].numpy(), atol=1e-6)


def _every(count: int) -> torch.Tensor:
    return torch.ones(count, count, dtype=torch.bool)


def test_a_reach_is_what_does_not_grow() -> None:
    assert settled_reach(lambda count: _every(count).tril().triu(-3)) == Reach(back=3, ahead=0)
    assert settled_reach(lambda count: _every(count).tril(2).triu(-60)) == Reach(back=60, ahead=2)
    with pytest.raises(ValueError, match="all earlier ones"):
        settled_reach(lambda count: _every(count).tril())
    with pytest.raises(ValueError, match="none at all"):
        reach_of(_every(5).tril(-1))


def test_a_mask_repeats_itself_or_is_no_table() -> None:
    chunk = torch.arange(48) // 4
    seen = chunk[None] == chunk[:, None]
    assert table_of(seen, reach_of(seen)).period == 4
    drawn = torch.rand(48, 48)
    with pytest.raises(ValueError, match="something else at every place"):
        table_of(drawn, Reach(back=3, ahead=0))
