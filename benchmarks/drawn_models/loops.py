"""Pieces that go over time in Python: cells, cells written by hand, a layer called frame by frame, decoders."""

from dataclasses import dataclass

from drawn_models.draft import Draft


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step as lines that make `y` of `frame` and the carried `states`, whose widths these are."""

    lines: tuple[str, ...]
    states: tuple[str, ...]
    widths: tuple[int, ...]
    width: int


def draw_loop(draft: Draft) -> None:
    """A loop over the steps of `x`, with what it carries and how it gathers."""
    draft.trait("loop")
    step = draft.chance.choice((_cell, _cell, _cell_stack, _written_cell, _written_cell, _frame_by_frame, _attending))(
        draft
    )
    starts = [_start(draft, width, step) for width in step.widths]
    if step.lines[0].startswith("y, (h, c)"):  # a layer's, (layers, B, H)
        starts = [f"x.new_zeros(1, x.size({draft.b}), {width})" for width in step.widths]
    elif step.lines[0].startswith("y, h ="):
        starts = [f"torch.zeros(1, {draft.rows}, {step.widths[0]})"]
    draft.line(*(f"{name} = {start}" for name, start in zip(step.states, starts, strict=True)))
    draft.states += len(step.widths) if draft.stateful else 0
    reverse = not draft.stateful and draft.coin(0.15)
    head, frame = _over(draft, reverse=reverse)
    lines = [
        *frame,
        *_before(draft, step, indexed=" t " in head),
        *step.lines,
        *_after(draft, step, indexed=" t " in head),
    ]
    before, gathered, after = _gathered(draft, step, reverse=reverse, indexed=" t " in head)
    draft.line(*before, head, *(f"    {line}" for line in (*lines, *gathered)), *after)
    draft.width = step.width
    draft.last, draft.last_width = (step.states[0], step.widths[0]) if "(1, " not in starts[0] else (None, 0)


def _over(draft: Draft, *, reverse: bool) -> tuple[str, list[str]]:
    """The loop's first line, and what reads the frame of a step."""
    frame = (
        "frame = x[t]"
        if draft.time_first
        else draft.pick("frame = x[:, t]", "frame = x[:, t, :]", "frame = x.select(1, t)")
    )
    if reverse:
        draft.trait("loop reversed")
        head = draft.pick(f"for t in reversed(range({draft.frames})):", f"for t in range({draft.frames} - 1, -1, -1):")
        return head, [frame]
    frames = "x" if draft.time_first else "x.transpose(0, 1)"
    heads = {
        f"for t in range({draft.frames}):": [frame],
        f"for frame in x.unbind({draft.t}):": [],
        f"for t, frame in enumerate({frames}):": [],
        f"for frame in {frames}:": [],
        f"for frame in x.split(1, dim={draft.t}):": [f"frame = frame.squeeze({draft.t})"],
        f"for frame in torch.chunk(x, {draft.frames}, {draft.t}):": [f"frame = frame.squeeze({draft.t})"],
    }
    head = draft.chance.choice((*heads, next(iter(heads)), next(iter(heads))))
    draft.trait(
        "loop by "
        + ("index" if heads[head] == [frame] else head.split("x")[-1].split("(")[0].strip(".:") or "iteration")
    )
    return head, heads[head]


def _before(draft: Draft, step: Step, *, indexed: bool) -> list[str]:
    """Lines before the step: states reset where an episode has ended, or a frame that sees the state."""
    if draft.coin(0.15) and "done" not in draft.parameters and indexed and not draft.is_longer:
        draft.trait("reset by a mask")
        at = "done[t]" if draft.time_first else "done[:, t]"
        if draft.coin():
            draft.parameters["done"] = f"(torch.rand({draft.lead}, generator=g) < 0.3).float()"
            wide = "view(1, -1, 1)" if _is_layer(step) else "unsqueeze(-1)"
            return [f"{name} = {name} * (1 - {at}).{wide}" for name in step.states]
        draft.parameters["done"] = f"torch.rand({draft.lead}, generator=g) < 0.3"
        wide = "view(1, -1, 1)" if _is_layer(step) else "unsqueeze(1)"
        return [f"{name} = torch.where({at}.{wide}, torch.zeros_like({name}), {name})" for name in step.states]
    return []


def _after(draft: Draft, step: Step, *, indexed: bool) -> list[str]:
    """Lines after the step: dropout, a residual, results of finished rows cleared, a step inside of the step."""
    form = draft.pick("none", "none", "none", "residual", "inner", "time", "length", "head")
    if form == "residual" and step.width == draft.width:
        return ["y = y + frame.reshape(y.shape)"]
    if form == "inner":
        draft.trait("loop inside of a loop")
        inner = draft.module("fc", f"nn.Linear({step.width}, {step.width})")
        return ["for _ in range(2):", f"    y = y + 0.5 * torch.tanh({inner}(y))"]
    if form == "time" and indexed:
        draft.trait("the step's number")
        return ["y = y / (t + 1)"]
    if form == "length" and indexed and draft.lengths is not None and not _is_layer(step):
        draft.trait("steps past the length cleared")
        return [f"y = y * (t < {draft.lengths}).unsqueeze(1)"]
    if form == "head":
        return [f"y = {draft.module('fc', f'nn.Linear({step.width}, {step.width})')}(y)"]
    return []


def _gathered(draft: Draft, step: Step, *, reverse: bool, indexed: bool) -> tuple[list[str], list[str], list[str]]:
    """How `y` of each step becomes `x`: lines before, in and after the loop."""
    axis, layer = draft.t, _is_layer(step)
    if layer:
        joined = f"x = torch.cat(outputs, {axis})"
        return (["outputs = []"], ["outputs.append(y)"], [*["outputs.reverse()"] * reverse, joined])
    forms = ["stack", "stack", "cat", "+="] + ["written"] * 2 * indexed
    form = draft.chance.choice(forms)
    draft.trait(f"gathered by {form}")
    turned = ["outputs.reverse()"] if reverse else []
    if reverse and form == "stack" and draft.coin():
        return ["outputs = []"], ["outputs.insert(0, y)"], [f"x = torch.stack(outputs, {axis})"]
    match form:
        case "stack":
            return ["outputs = []"], ["outputs.append(y)"], [*turned, f"x = torch.stack(outputs, dim={axis})"]
        case "cat":
            return (
                ["outputs = []"],
                [f"outputs.append(y.unsqueeze({axis}))"],
                [*turned, f"x = torch.cat(outputs, {axis})"],
            )
        case "+=":
            return ["outputs = []"], ["outputs += [y]"], [*turned, f"x = torch.stack(outputs, {axis})"]
    size = f"{draft.frames}, {draft.rows}" if draft.time_first else f"{draft.rows}, {draft.frames}"
    made = draft.pick(
        f"x.new_zeros({size}, {step.width})", f"torch.zeros({size}, {step.width})", f"torch.empty({size}, {step.width})"
    )
    at = "outputs[t] = y" if draft.time_first else draft.pick("outputs[:, t] = y", "outputs[:, t, :] = y")
    return [f"outputs = {made}"], [at], ["x = outputs"]


def _is_layer(step: Step) -> bool:
    return step.lines[0].startswith(("y, (h, c)", "y, h ="))


def _start(draft: Draft, width: int, step: Step) -> str:
    """A first state of `(B, width)`."""
    form = draft.pick("zeros", "new_zeros", "new_zeros", "learned", "first frame")
    if form == "learned":
        draft.trait("loop from a learned state")
        return draft.parameter(f"1, {width}") + f".expand({draft.rows}, -1)"
    if form == "first frame" and not draft.stateful and draft.lengths is None:
        draft.trait("loop from the sequence")
        return f"torch.tanh({draft.module('fc', f'nn.Linear({draft.width}, {width})')}(x.mean({draft.t})))"
    return f"torch.zeros({draft.rows}, {width})" if form == "zeros" else f"x.new_zeros({draft.rows}, {width})"


def _cell(draft: Draft) -> Step:
    width = draft.chance.choice((6, 8, 8))
    kind = draft.pick("LSTMCell", "GRUCell", "RNNCell")
    draft.trait(kind)
    cell = draft.module("cell", f"nn.{kind}({draft.width}, {width})")
    if kind == "LSTMCell":
        return Step(
            lines=(f"h, c = {cell}(frame, (h, c))", "y = h"), states=("h", "c"), widths=(width, width), width=width
        )
    return Step(lines=(f"h = {cell}(frame, h)", "y = h"), states=("h",), widths=(width,), width=width)


def _cell_stack(draft: Draft) -> Step:
    draft.trait("stack of cells")
    width = draft.chance.choice((6, 8, 8))
    own = draft.module("cells", f"nn.ModuleList([nn.GRUCell({draft.width}, {width}), nn.GRUCell({width}, {width})])")
    lines = (f"h = {own}[0](frame, h)", f"c = {own}[1](h, c)", "y = c")
    return Step(lines=lines, states=("h", "c"), widths=(width, width), width=width)


def _written_cell(draft: Draft) -> Step:
    width = draft.chance.choice((6, 8, 8))
    name = draft.chance.choice(sorted(CELLS))
    draft.trait(f"cell by hand: {name}")
    draft.classes.setdefault(name, CELLS[name])
    cell = draft.module("cell", f"{name}({draft.width}, {width})")
    if name in ("HandLSTM", "NormLSTM"):
        return Step(
            lines=(f"h, c = {cell}(frame, (h, c))", "y = h"), states=("h", "c"), widths=(width, width), width=width
        )
    return Step(lines=(f"h = {cell}(frame, h)", "y = h"), states=("h",), widths=(width,), width=width)


def _frame_by_frame(draft: Draft) -> Step:
    draft.trait("layer frame by frame")
    width = draft.chance.choice((6, 8, 8))
    kind = draft.pick("LSTM", "GRU")
    first = "" if draft.time_first else ", batch_first=True"
    layer = draft.module("rnn", f"nn.{kind}({draft.width}, {width}{first})")
    states = ("h", "c") if kind == "LSTM" else ("h",)
    given = "(h, c)" if kind == "LSTM" else "h"
    line = f"y, {given} = {layer}(frame.unsqueeze({draft.t}), {given})"
    return Step(lines=(line,), states=states, widths=(width,) * len(states), width=width)


def _attending(draft: Draft) -> Step:
    """A decoder's step with attention over the whole of `x`."""
    if draft.stateful:
        return _cell(draft)
    draft.trait("attention in the loop")
    width = draft.chance.choice((6, 8, 8))
    cell = draft.module("cell", f"nn.GRUCell({2 * draft.width}, {width})")
    query = draft.module("query", f"nn.Linear({width}, {draft.width})")
    memory = draft.of_batch_first("x")
    lines = (
        f"weights = torch.softmax(torch.bmm({memory}, {query}(h).unsqueeze(2)).squeeze(2), -1)",
        f"context = torch.bmm(weights.unsqueeze(1), {memory}).squeeze(1)",
        f"h = {cell}(torch.cat([frame, context], -1), h)",
        "y = h",
    )
    return Step(lines=lines, states=("h",), widths=(width,), width=width)


CELLS = {
    "HandLSTM": """class HandLSTM(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 4 * hidden), nn.Linear(hidden, 4 * hidden, bias=False)

    def forward(self, frame, state):
        h, c = state
        i, f, g, o = (self.inner(frame) + self.outer(h)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
""",
    "NormLSTM": """class NormLSTM(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 4 * hidden), nn.Linear(hidden, 4 * hidden)
        self.norm, self.norm_c = nn.LayerNorm(4 * hidden), nn.LayerNorm(hidden)

    def forward(self, frame, state):
        h, c = state
        i, f, g, o = self.norm(self.inner(frame) + self.outer(h)).split(h.size(1), 1)
        c = self.norm_c(f.sigmoid() * c + i.sigmoid() * g.tanh())
        return o.sigmoid() * c.tanh(), c
""",
    "MinimalGate": """class MinimalGate(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate, self.value = nn.Linear(width + hidden, hidden), nn.Linear(width + hidden, hidden)

    def forward(self, frame, h):
        f = torch.sigmoid(self.gate(torch.cat([frame, h], 1)))
        return (1 - f) * h + f * torch.tanh(self.value(torch.cat([frame, f * h], 1)))
""",
    "Independent": """class Independent(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.inner, self.u = nn.Linear(width, hidden), nn.Parameter(torch.rand(hidden))

    def forward(self, frame, h):
        return torch.relu(self.inner(frame) + self.u * h)
""",
    "Zoneout": """class Zoneout(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.cell = nn.GRUCell(width, hidden)

    def forward(self, frame, h):
        return 0.1 * h + 0.9 * self.cell(frame, h)
""",
    "Leaky": """class Leaky(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, hidden)

    def forward(self, frame, h):
        for _ in range(2):
            h = h + 0.5 * (torch.tanh(self.inner(frame) + self.outer(h)) - h)
        return h
""",
}
