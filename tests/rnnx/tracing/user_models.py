"""The models of the modules beside this one, each with its inputs for a batch and a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tests.rnnx.tracing.length_models import (
    ArangeLast,
    AttentionPool,
    LastValid,
    LengthsFromPadding,
    MeanOverValid,
    NormedRows,
    SortedPacking,
    ValidMaximum,
)
from tests.rnnx.tracing.sequence_models import (
    Block,
    EmbeddingBagged,
    Flipped,
    Hierarchy,
    InheritingModel,
    NormalizedInput,
    Normed,
    OneHot,
    Quantiles,
    Residuals,
    SameConvolutions,
    SelectItem,
    SpeechCtc,
    SplitFeatures,
    TimeDistributed,
    Transformed,
    Windows,
)
from tests.rnnx.tracing.state_models import (
    BahdanauStep,
    CellStep,
    DataclassResult,
    DictAndNested,
    FlatStates,
    LastOfBoth,
    LearnedStart,
    NamedResult,
    Projected,
    SharedTwins,
    TeacherForced,
    TiedCharacters,
    TimeMajorUnsqueezed,
    Unbatched,
    VoiceActivity,
    ZeroStart,
)
from torch import Tensor, nn

Inputs = Callable[[int, int], tuple[Any, ...] | dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class UserModel:
    """A model's maker, its inputs for a batch and a time, and the shortest time that it takes itself."""

    make: Callable[[], nn.Module]
    inputs: Inputs
    shortest: int = 1


def frames(batch: int, time: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, time, 5, generator=torch.Generator().manual_seed(batch * 100 + time)),)


def frames_and_lengths(batch: int, time: int) -> tuple[Tensor, ...]:
    lengths = [1 + (row * 3) % time for row in range(batch - 1)]
    return (*frames(batch, time), torch.tensor([*lengths, time]))


def tokens(batch: int, time: int) -> tuple[Tensor, ...]:
    return (torch.arange(batch * time).reshape(batch, time) % 12,)


def _speaker() -> nn.Module:
    return nn.Sequential(
        nn.LSTM(5, 8, 3, batch_first=True), SelectItem(0), nn.Dropout(0.5), nn.Linear(8, 4), nn.Softmax(-1)
    )


def _zeros(batch: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(2, batch, 8), torch.zeros(2, batch, 8)


MODELS: dict[str, UserModel] = {
    "speech-ctc": UserModel(make=SpeechCtc, inputs=frames),
    "vad-stacked-state": UserModel(
        make=VoiceActivity,
        inputs=lambda b, t: (*frames(b, t), torch.randn(2, 1, b, 8, generator=torch.Generator().manual_seed(b))),
    ),
    "teacher-forcing": UserModel(make=TeacherForced, inputs=frames),
    "tied-characters": UserModel(make=TiedCharacters, inputs=lambda b, t: (tokens(t, b)[0], _zeros(b))),
    "attention-pool": UserModel(make=AttentionPool, inputs=frames_and_lengths),
    "normed-packed-rows": UserModel(make=NormedRows, inputs=frames_and_lengths),
    "shared-twins": UserModel(make=SharedTwins, inputs=lambda b, t: (*frames(b, t), *frames(b, t + 3))),
    "residuals": UserModel(make=Residuals, inputs=frames),
    "sequential": UserModel(make=_speaker, inputs=frames),
    "last-of-both": UserModel(make=LastOfBoth, inputs=frames),
    "flat-states": UserModel(make=FlatStates, inputs=frames),
    "valid-maximum": UserModel(make=ValidMaximum, inputs=frames_and_lengths),
    "time-distributed": UserModel(make=TimeDistributed, inputs=frames),
    "learned-start": UserModel(make=LearnedStart, inputs=frames),
    "zero-start": UserModel(make=ZeroStart, inputs=frames),
    "flipped": UserModel(make=Flipped, inputs=frames),
    "dataclass": UserModel(make=DataclassResult, inputs=frames),
    "named-tuple": UserModel(make=NamedResult, inputs=frames),
    "nested-dict": UserModel(make=DictAndNested, inputs=lambda b, t: {"x": frames(b, t)[0], "scale": 0.5}),
    "keyword-state": UserModel(make=DictAndNested, inputs=lambda b, t: {"x": frames(b, t)[0], "state": _zeros(b)}),
    "embedding-bag": UserModel(
        make=EmbeddingBagged, inputs=lambda b, t: (torch.arange(b * t * 4).reshape(b, t, 4) % 12,)
    ),
    "one-hot-int32": UserModel(make=OneHot, inputs=lambda b, t: (tokens(b, t)[0].to(torch.int32),)),
    "same-convolutions": UserModel(make=SameConvolutions, inputs=frames),
    "attention-block": UserModel(
        make=Block, inputs=lambda b, t: (*frames(b, t), torch.arange(t)[None] >= frames_and_lengths(b, t)[1][:, None])
    ),
    "transformer": UserModel(make=Transformed, inputs=frames),
    "quantiles": UserModel(make=Quantiles, inputs=frames),
    "inheriting": UserModel(make=InheritingModel, inputs=frames),
    "weight-norm": UserModel(make=Normed, inputs=frames),
    "last-valid": UserModel(make=LastValid, inputs=frames_and_lengths),
    "arange-last": UserModel(make=ArangeLast, inputs=frames_and_lengths),
    "split": UserModel(make=SplitFeatures, inputs=frames),
    "cell-step": UserModel(
        make=CellStep,
        inputs=lambda b, t: (torch.randn(b, 5), [(torch.randn(b, 8), torch.randn(b, 8)) for _ in range(2)]),
    ),
    "sorted-packing": UserModel(make=SortedPacking, inputs=frames_and_lengths),
    "attention-step": UserModel(
        make=BahdanauStep, inputs=lambda b, t: (tokens(b, 1)[0], torch.randn(1, b, 8), torch.randn(b, t, 8))
    ),
    "mean-over-valid": UserModel(make=MeanOverValid, inputs=tokens),
    "lengths-from-padding": UserModel(
        make=LengthsFromPadding,
        inputs=lambda b, t: ((tokens(b, t)[0] + 1) * (torch.arange(t) < frames_and_lengths(b, t)[1][:, None]) % 12,),
    ),
    "windows": UserModel(make=Windows, inputs=frames),
    "normalized-input": UserModel(make=NormalizedInput, inputs=frames),
    "hierarchy": UserModel(make=Hierarchy, inputs=lambda b, t: (torch.randn(b, 3 + b, t, 5),)),
    "unbatched": UserModel(make=Unbatched, inputs=lambda b, t: (torch.randn(t, 5),)),
    "one-sentence": UserModel(make=TimeMajorUnsqueezed, inputs=lambda b, t: (tokens(1, t)[0][0],)),
    "projected": UserModel(make=Projected, inputs=frames),
}
