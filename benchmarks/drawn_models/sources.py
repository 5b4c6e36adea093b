"""A whole model of a seed: its pieces drawn one after another, and written down as a module that Python can import."""

import random
from collections import Counter
from dataclasses import dataclass

from drawn_models.draft import Draft, indented
from drawn_models.encoders import draw_encoder
from drawn_models.heads import draw_head, pooled
from drawn_models.inputs import draw_inputs
from drawn_models.loops import draw_loop
from drawn_models.recurrences import draw_layer


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A model's source, whose `factory()` and `inputs(B, T, cut)` make it and what it takes.

    `cut` shortens each length. `states` is how many tensors `--stateful` lifts, None where it is not asked for;
    `traits` are what was drawn.
    """

    source: str
    states: int | None
    ragged: bool
    traits: tuple[str, ...]


def drawn_model(seed: int) -> Drawn:
    """The model of this seed."""
    chance = random.Random(seed)
    draft = Draft(chance=chance, time_first=chance.random() < 0.25, stateful=chance.random() < 0.12)
    siamese = not draft.stateful and chance.random() < 0.1
    if siamese:
        draft.width = 6
        draft.parameters["x"] = f"torch.randn({draft.lead}, 6, generator=g)"
    else:
        draw_inputs(draft)
    _draw_body(draft)
    results = _compared(draft) if siamese else draw_head(draft)
    _draw_second_result(draft, results)
    ragged = draft.lengths is not None or any("lengths" in trait for trait in draft.traits)
    return Drawn(
        source=_written(draft, results),
        states=draft.states if draft.stateful else None,
        ragged=ragged,
        traits=tuple(sorted(Counter(draft.traits))),
    )


def _draw_body(draft: Draft) -> None:
    """Encoders, one to three recurrent pieces, and encoders between them."""
    for _ in range(draft.chance.choice((0, 0, 1, 1, 2))):
        draw_encoder(draft)
    for place in range(draft.chance.choice((1, 1, 1, 2, 2, 3))):
        if place and draft.coin(0.5):
            draw_encoder(draft)
        if draft.coin(0.3):
            draw_loop(draft)
        else:
            draw_layer(draft, again=draft.coin(0.3) and draft.width % 2 == 0)
    if draft.coin(0.3):
        draw_encoder(draft)


def _compared(draft: Draft) -> list[str]:
    """Two sequences through the pieces so far, which become a method, and one result for each pair."""
    draft.trait("siamese")
    value, width = pooled(draft)
    others = [name for name in draft.parameters if name != "x"]
    taken = ", ".join(["x", *others])
    draft.methods["encode"] = f"def encode(self, {taken}):\n{indented([*draft.body, f'return {value}'], 1)}"
    head = draft.module("head", f"nn.Linear({3 * width}, 2)")
    rest = "".join(f", {name}" for name in others)
    draft.body[:] = [
        f"u, v = self.encode(x{rest}), self.encode(other{rest})",
        f"result = {head}(torch.cat([u, v, (u - v).abs()], dim=1))",
    ]
    longer = "" if others else draft.pick("", " + 2")
    lead = draft.lead.replace("T", f"T{longer}")
    draft.parameters["other"] = f"torch.randn({lead}, 6, generator=g)"
    draft.lengths = draft.last = None
    return ["result"]


def _draw_second_result(draft: Draft, results: list[str]) -> None:
    """Some models give the last states as well."""
    if draft.last is not None and not draft.stateful and draft.coin(0.15):
        draft.trait("last states as a result")
        draft.line(f"last = {draft.last}")
        results.append("last")


def _written(draft: Draft, results: list[str]) -> str:
    form = draft.pick("tuple", "tuple", "dict") if len(results) > 1 else draft.pick("value", "value", "value", "dict")
    given = ", ".join(f"'{name}': {name}" for name in results)
    returned = f"return {{{given}}}" if form == "dict" else f"return {', '.join(results)}"
    order = list(draft.parameters)
    helpers = "".join(f"{text}\n\n" for text in draft.classes.values())
    methods = "".join(f"\n{indented(text.split(chr(10)), 1)}\n" for text in draft.methods.values())
    inputs = ", ".join(f"'{name}': {draft.parameters[name]}" for name in order)
    lengths = "T - cut - 2 * b" if draft.sorted_lengths else "T - cut - 2 * ((b + 1) % B)"
    return f"""import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


{helpers}class Model(nn.Module):
    def __init__(self):
        super().__init__()
{indented(draft.fields, 2)}
{methods}
    def forward(self, {", ".join(order)}):
{indented([*draft.body, returned], 2)}


def inputs(B, T, cut=0):
    g = torch.Generator().manual_seed(1000 * B + T)
    n = torch.tensor([max(1, {lengths}) for b in range(B)])
    return {{{inputs}}}


def factory():
    torch.manual_seed(0)
    return Model().eval()
"""
