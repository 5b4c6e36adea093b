"""Pieces with `nn.LSTM`, `nn.GRU` and `nn.RNN`: options, packed sequences, and states that models make themselves."""

from collections.abc import Iterable
from dataclasses import dataclass

from drawn_models.draft import Draft


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer's submodule and what its constructor was given."""

    place: str
    kind: str
    hidden: int
    layers: int
    directions: int
    projection: int
    batch_first: bool

    @property
    def width(self) -> int:
        """The width of its output."""
        return (self.projection or self.hidden) * self.directions

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of its states."""
        return (self.projection or self.hidden, self.hidden)[: 2 if self.kind == "LSTM" else 1]


def draw_layer(draft: Draft, *, again: bool = False) -> None:
    """A layer over `x`, packed where there are lengths; `again` takes the width of `x` for its own."""
    layer = _layer(draft, again=again)
    if draft.coin(0.1) and not draft.stateful and draft.lengths is None:
        _backwards(draft, layer)
    elif draft.lengths is not None and draft.coin(0.8):
        _packed(draft, layer)
    else:
        _called(draft, layer)
    _directions(draft, layer)


def _layer(draft: Draft, *, again: bool) -> Layer:
    kind = draft.pick("LSTM", "LSTM", "GRU", "GRU", "RNN")
    directions = 2 if not draft.stateful and draft.coin(0.4) else 1
    hidden = draft.width // directions if again else draft.chance.choice((8, 8, 6))
    layers = draft.chance.choice((1, 1, 2))
    projection = 4 if kind == "LSTM" and not again and draft.coin(0.15) else 0
    batch_first = draft.time_first if draft.coin(0.2) else not draft.time_first
    options = [f"{draft.width}, {hidden}"]
    options += ["num_layers=2" if draft.coin() else "2"] if layers == 2 else []
    options += ["batch_first=True"] if batch_first else []
    options += ["bidirectional=True"] if directions == 2 else []
    options += [f"proj_size={projection}"] if projection else []
    options += ["dropout=0.2"] if layers == 2 and draft.coin(0.3) else []
    options += ["bias=False"] if draft.coin(0.1) else []
    options += ["nonlinearity='relu'"] if kind == "RNN" and draft.coin(0.3) else []
    place = draft.module("rnn", f"nn.{kind}({', '.join(options)})", 0.9 if not draft.stateful else 0.5)
    draft.trait(kind)
    draft.traits += ["bidirectional"] * (directions == 2) + ["projection"] * bool(projection)
    return Layer(
        place=place,
        kind=kind,
        hidden=hidden,
        layers=layers,
        directions=directions,
        projection=projection,
        batch_first=batch_first,
    )


def _called(draft: Draft, layer: Layer) -> None:
    swapped = layer.batch_first == draft.time_first
    given = "x.transpose(0, 1)" if swapped else "x"
    state, last = _state(draft, layer), draft.name("h")
    flattened = draft.coin(0.1)
    draft.line(*[f"{layer.place}.flatten_parameters()"] * flattened)
    if state.startswith("self.kept"):  # over calls
        draft.line(f"x, {last} = {layer.place}({given}, {state})", f"{state} = {_detached(draft, layer, last)}")
    else:
        draft.line(f"x, {last} = {layer.place}({given}{f', {state}' if state else ''})")
    draft.line(*["x = x.transpose(0, 1)"] * swapped)
    _keep_last(draft, layer, last)


def _detached(draft: Draft, layer: Layer, last: str) -> str:
    if layer.kind == "LSTM":
        return draft.pick(f"({last}[0].detach(), {last}[1].detach())", last, f"tuple(v.detach() for v in {last})")
    return draft.pick(last, f"{last}.detach()")


def _backwards(draft: Draft, layer: Layer) -> None:
    """The layer over the reversed sequence, its result turned back."""
    draft.trait("reversed by hand")
    swapped, last = layer.batch_first == draft.time_first, draft.name("h")
    given = f"x.flip({draft.t}).transpose(0, 1)" if swapped else f"x.flip({draft.t})"
    draft.line(f"x, {last} = {layer.place}({given})")
    draft.line(f"x = x{'.transpose(0, 1)' if swapped else ''}.flip({draft.t})")
    _keep_last(draft, layer, last)


def _packed(draft: Draft, layer: Layer) -> None:
    """Pack, run, pad: rows sorted by the caller, by PyTorch, or by the model itself."""
    draft.trait("packed")
    first, last, n = not draft.time_first, draft.name("h"), draft.lengths
    by_hand = not draft.sorted_lengths and draft.coin(0.35)
    if by_hand:
        draft.trait("sorted by hand")
        draft.line(
            draft.pick(f"by, order = torch.sort({n}, descending=True)", f"by, order = {n}.sort(0, descending=True)"),
            draft.pick("back = torch.argsort(order)", "_, back = order.sort()", "back = order.argsort()"),
            f"x = {draft.pick(f'x.index_select({draft.b}, order)', 'x[order]' if first else 'x[:, order]')}",
        )
    taken = "by" if by_hand else n
    form = draft.pick("", ".cpu()", ".cpu()", ".tolist()", ".cpu().numpy()", ".to('cpu')", ".long().cpu()")
    draft.trait(f"lengths{form or ' as they are'}")
    sort = "" if by_hand or (draft.sorted_lengths and draft.coin(0.7)) else ", enforce_sorted=False"
    draft.line(f"packed = pack_padded_sequence(x, {taken}{form}{', batch_first=True' if first else ''}{sort})")
    state = "" if by_hand else _state(draft, layer, packed=True)
    draft.line(f"packed, {last} = {layer.place}(packed{f', {state}' if state else ''})")
    total = draft.pick("", f", total_length={draft.frames}", f", total_length={draft.frames}")
    draft.trait("total_length" if total else "no total_length")
    draft.line(f"x, _ = pad_packed_sequence(packed{', batch_first=True' if first else ''}{total})")
    if by_hand:
        draft.line(f"x = {draft.pick(f'x.index_select({draft.b}, back)', 'x[back]' if first else 'x[:, back]')}")
        last = _unsorted(draft, layer, last)
    _keep_last(draft, layer, last)


def _unsorted(draft: Draft, layer: Layer, last: str) -> str:
    """The first of the last states with its rows in the caller's order."""
    own = f"{last}[0]" if layer.kind == "LSTM" else last
    draft.line(f"{last}_h = {own}.index_select(1, back)")
    return f"{last}_h"


def _keep_last(draft: Draft, layer: Layer, last: str) -> None:
    """Say how a head reads the last states, as `(B, …)`."""
    hn = f"{last}[0]" if layer.kind == "LSTM" and not last.endswith("_h") else last
    width = layer.projection or layer.hidden
    rows = layer.layers * layer.directions
    ways = {f"{hn}[-1]": width, f"{hn}.transpose(0, 1).flatten(1)": rows * width}
    ways[f"{hn}.permute(1, 0, 2).reshape({hn}.size(1), {rows * width})"] = rows * width
    if layer.directions == 2:
        ways[f"torch.cat([{hn}[-2], {hn}[-1]], dim=1)"] = 2 * width
        ways[f"{hn}.view({layer.layers}, 2, -1, {width})[-1].sum(0)"] = width
    draft.last = draft.chance.choice(sorted(ways))
    draft.last_width = ways[draft.last]


def _directions(draft: Draft, layer: Layer) -> None:
    """Both directions side by side, or their sum."""
    draft.width = layer.width
    if layer.directions == 2 and draft.coin(0.3):
        draft.trait("directions summed")
        half = layer.width // 2
        draft.line(
            draft.pick(
                f"x = x[:, :, :{half}] + x[:, :, {half}:]",
                "x = x.view(x.size(0), x.size(1), 2, -1).sum(2)",
                "x = sum(x.chunk(2, -1))",
                f"x = torch.add(*x.split({half}, dim=-1))",
            )
        )
        draft.width = half


def _state(draft: Draft, layer: Layer, *, packed: bool = False) -> str:
    """The initial states as an expression, empty where the layer is given none."""
    forms = ["none", "none", "none", "zeros", "new_zeros", "init_hidden", "learned"]
    if draft.stateful:
        forms = ["none", "none", "zeros", "new_zeros", "init_hidden", "learned", "attribute", "attribute"]
    else:
        forms += ["given"]
    form = draft.chance.choice(forms)
    draft.trait(f"state {form}")
    rows, batch = layer.layers * layer.directions, "n.size(0)" if packed else draft.rows
    draft.states += len(layer.widths) if draft.stateful else 0
    match form:
        case "none":
            return ""
        case "zeros":
            return _tuple(f"torch.zeros({rows}, {batch}, {width})" for width in layer.widths)
        case "new_zeros":
            if draft.coin(0.3) and len(set(layer.widths)) == 1 and len(layer.widths) == 2:
                draft.line(f"zero = x.new_zeros({rows}, {draft.rows}, {layer.hidden})")
                return "(zero, zero)"
            return _tuple(f"x.new_zeros({rows}, {draft.rows}, {width})" for width in layer.widths)
        case "init_hidden":
            method = f"init_hidden_{layer.place.removeprefix('self.')}"
            zeros = _tuple(f"weight.new_zeros({rows}, batch, {width})" for width in layer.widths)
            draft.methods[method] = (
                f"def {method}(self, batch):\n    weight = next(self.parameters()).data\n    return {zeros}"
            )
            return f"self.{method}({batch})"
        case "learned":
            starts = [draft.parameter(f"{rows}, 1, {width}") for width in layer.widths]
            how = draft.pick(".expand(-1, {}, -1).contiguous()", ".repeat(1, {}, 1)")
            return _tuple(start + how.format(draft.rows) for start in starts)
        case "attribute":
            own = f"self.{draft.name('kept')}"
            draft.fields.append(f"{own} = None")
            return own
    names = [draft.name("state") for _ in layer.widths]
    for name, width in zip(names, layer.widths, strict=True):
        draft.parameters[name] = f"torch.randn({rows}, B, {width}, generator=g)"
    return _tuple(names)


def _tuple(parts: Iterable[str]) -> str:
    texts = list(parts)
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
