"""Pieces that make a sequence of a sequence: projections, convolutions, pooling, attention, sizes made by `int()`."""

from collections.abc import Callable

from drawn_models.draft import Draft

Piece = Callable[[Draft], None]


def draw_encoder(draft: Draft) -> None:
    """One piece; where the model streams, one that looks at each step alone."""
    draft.chance.choice(FRAMEWISE if draft.stateful else (*FRAMEWISE, *ACROSS, *ACROSS, *SIZES, *SIZES))(draft)


def _linear(draft: Draft) -> None:
    width = draft.chance.choice((8, 8, 12))
    linear = draft.module("fc", f"nn.Linear({draft.width}, {width})")
    act = draft.module("act", draft.pick("nn.ReLU()", "nn.Tanh()", "nn.ELU()", "nn.LeakyReLU(0.1)"), 0.9)
    draft.line(f"x = {act}({linear}(x))")
    draft.width, draft.last = width, None


def _residual(draft: Draft) -> None:
    linear = draft.module("fc", f"nn.Linear({draft.width}, {draft.width})", 0.8)
    draft.line(f"x = x + {draft.pick('torch.tanh', 'F.relu', 'F.gelu', 'F.silu')}({linear}(x))")
    draft.last = None


def _norm(draft: Draft) -> None:
    draft.line(f"x = {draft.module('norm', f'nn.LayerNorm({draft.width})', 0.8)}(x)")


def _dropout(draft: Draft) -> None:
    if draft.coin():
        draft.line(f"x = {draft.module('drop', 'nn.Dropout(0.3)', 0.9)}(x)")
    else:
        draft.line("x = F.dropout(x, 0.2, training=self.training)")


def _glu(draft: Draft) -> None:
    linear = draft.module("fc", f"nn.Linear({draft.width}, {2 * draft.width})")
    if draft.coin():
        draft.line(f"x = F.glu({linear}(x), dim=-1)")
    else:
        draft.line(f"a, b = {linear}(x).chunk(2, {draft.pick('-1', '2', 'dim=-1')})", "x = a * torch.sigmoid(b)")


def _holder(draft: Draft) -> None:
    """A block of its own class, which may stand in the model twice."""
    draft.trait("block")
    draft.classes.setdefault("Block", BLOCK)
    draft.line(f"x = {draft.module('block', f'Block({draft.width})', 0.9)}(x)")


def _heads_view(draft: Draft) -> None:
    """The features in two groups, each by the same projection."""
    if draft.width % 2:
        return
    half = draft.width // 2
    linear = draft.module("fc", f"nn.Linear({half}, {half})", 0.8)
    first, second = f"x.size(0), {draft.pick('x.size(1)', '-1')}", "x.size(0), x.size(1)"
    draft.line(f"x = {linear}(x.reshape({first}, 2, {half})).reshape({second}, {2 * half})")


def _conv(draft: Draft) -> None:
    draft.trait("conv")
    width, kernel = 8, draft.chance.choice((3, 5))
    conv = draft.module("conv", f"nn.Conv1d({draft.width}, {width}, {kernel}, padding={kernel // 2})")
    value = f"{conv}({draft.channels_first()})"
    if draft.coin(0.4):
        value = f"{draft.module('bn', f'nn.BatchNorm1d({width})')}({value})"
    draft.line(f"x = {draft.from_channels_first(f'F.relu({value})')}")
    draft.width, draft.last = width, None


def _strided_conv(draft: Draft) -> None:
    draft.trait("strided conv")
    conv = draft.module("conv", f"nn.Conv1d({draft.width}, 8, 3, stride=2, padding=1)")
    draft.line(f"x = {draft.from_channels_first(f'torch.tanh({conv}({draft.channels_first()}))')}")
    draft.width = 8
    draft.shorter("({n} + 1) // 2")


def _causal_conv(draft: Draft) -> None:
    draft.trait("causal conv")
    conv = draft.module("conv", f"nn.Conv1d({draft.width}, {draft.width}, 3, dilation=2)", 0.6)
    value = f"{conv}(F.pad({draft.channels_first()}, (4, 0)))"
    draft.line(f"x = x + {draft.from_channels_first(f'torch.tanh({value})')}")
    draft.last = None


def _conv2d(draft: Draft) -> None:
    draft.trait("conv2d")
    conv = draft.module("conv", "nn.Conv2d(1, 3, 3, padding=1)", 0.0)
    half = draft.width // 2
    draft.line(
        f"z = F.max_pool2d(F.relu({conv}({draft.of_batch_first('x')}.unsqueeze(1))), (1, 2))",
        draft.pick(
            "z = z.permute(0, 2, 1, 3).flatten(2)",
            f"z = z.transpose(1, 2).reshape(z.size(0), z.size(2), {3 * half})",
            f"z = z.transpose(1, 2).contiguous().view(z.size(0), -1, {3 * half})",
        ),
        f"x = {draft.of_batch_first('z')}",
    )
    draft.width, draft.last = 3 * half, None


def _gate(draft: Draft) -> None:
    """Each row's features by its mean over time."""
    draft.trait("gate by the mean")
    linear = draft.module("fc", f"nn.Linear({draft.width}, {draft.width})")
    draft.line(f"x = x * torch.sigmoid({linear}(x.mean({draft.t}, keepdim=True)))")
    draft.last = None


def _attention(draft: Draft) -> None:
    draft.trait("self-attention")
    draft.last = None
    match draft.pick("sdpa", "bmm", "multi-head"):
        case "sdpa":
            projection = draft.module("qkv", f"nn.Linear({draft.width}, {3 * draft.width})")
            draft.line(
                f"q, k, v = {projection}({draft.of_batch_first('x')}).chunk(3, -1)",
                f"x = x + {draft.of_batch_first('F.scaled_dot_product_attention(q, k, v)')}",
            )
        case "bmm":
            draft.line(
                f"z = {draft.of_batch_first('x')}",
                "weights = torch.softmax(torch.bmm(z, z.transpose(1, 2)) / math.sqrt(z.size(-1)), -1)",
            )
            if draft.lengths is not None:
                draft.line(f"keep = torch.arange(z.size(1)) < {draft.lengths}[:, None]")
                draft.line("weights = weights * keep.unsqueeze(1)")
            draft.line(f"x = x + {draft.of_batch_first('torch.bmm(weights, z)')}")
        case _:
            heads = 2 if draft.width % 2 == 0 else 1
            attention = draft.module("mha", f"nn.MultiheadAttention({draft.width}, {heads}, batch_first=True)")
            draft.line(
                f"z = {draft.of_batch_first('x')}",
                f"x = x + {draft.of_batch_first(f'{attention}(z, z, z, need_weights=False)[0]')}",
            )


def _positions(draft: Draft) -> None:
    draft.trait("positions")
    if draft.coin():
        table = draft.module("pos", f"nn.Embedding(64, {draft.width})")
        draft.line(f"at = {table}(torch.arange({draft.frames}))")
    else:
        table = draft.parameter(f"64, {draft.width}")
        draft.line(f"at = {table}[: {draft.frames}]")
    draft.line(f"x = x + at.unsqueeze({draft.b})")


def _flip(draft: Draft) -> None:
    draft.trait("flip")
    draft.line(f"x = x.flip({draft.t})" if draft.coin() else f"x = torch.flip(x, [{draft.t}])")
    draft.last = None


def _differences(draft: Draft) -> None:
    """Each step beside its change since the step before."""
    draft.trait("differences")
    axis = draft.t
    draft.line(
        f"before = torch.cat([torch.zeros_like({draft.time_slice(':1')}), {draft.time_slice(':-1')}], {axis})",
        "x = torch.cat([x, x - before], -1)",
    )
    draft.width, draft.last = 2 * draft.width, None


def _running_mean(draft: Draft) -> None:
    draft.trait("running mean")
    steps = f"torch.arange(1, {draft.frames} + 1)"
    draft.line(f"x = x.cumsum({draft.t}) / {steps}.view({'-1, 1, 1' if draft.time_first else '1, -1, 1'})")
    draft.last = None


def _pad_to_multiple(draft: Draft) -> None:
    """Zeros behind the end up to a multiple of k; some models then stack k frames to one."""
    draft.trait("pad to a multiple")
    k = draft.chance.choice((2, 3, 4))
    draft.line(
        f"T = {draft.frames}",
        draft.pick(
            f"more = int(math.ceil(T / {k}) * {k}) - T",
            f"more = ({k} - T % {k}) % {k}",
            f"more = -T % {k}",
            f"more = (T + {k - 1}) // {k} * {k} - T",
        ),
    )
    if draft.coin(0.3):
        draft.line("if more > 0:", f"    x = F.pad(x, (0, 0, {'0, 0, ' if draft.time_first else ''}0, more))")
    else:
        draft.line(f"x = F.pad(x, (0, 0, {'0, 0, ' if draft.time_first else ''}0, more))")
    draft.last, draft.is_longer = None, True
    if draft.coin():
        draft.trait("stacked frames")
        draft.line(
            f"z = {draft.of_batch_first('x')}",
            f"z = z.reshape(z.size(0), {draft.pick(f'z.size(1) // {k}', '-1')}, {k * draft.width})",
            f"x = {draft.of_batch_first('z')}",
        )
        draft.width *= k
        draft.shorter(f"({{n}} + {k - 1}) // {k}")


def _subsample(draft: Draft) -> None:
    draft.trait("every second step")
    draft.line(f"x = {draft.time_slice('::2')}")
    draft.shorter("({n} + 1) // 2")


def _pool(draft: Draft) -> None:
    draft.trait("pooling over time")
    pool = draft.pick(
        "F.max_pool1d({}, 2, ceil_mode=True)", "F.avg_pool1d({}, 2, ceil_mode=True)", "F.max_pool1d({}, 3, 1, 1)"
    )
    draft.line(f"x = {draft.from_channels_first(pool.format(draft.channels_first()))}")
    draft.shorter("{n}" if "3, 1, 1" in pool else "({n} + 1) // 2")


def _portion(draft: Draft) -> None:
    """The first part of the sequence, its size by `int`, `round`, `ceil` or a floor division."""
    draft.trait("part by int()")
    size = draft.pick(
        "max(1, int(T / 2))", "int(T * 0.5) + 1", "round(T * 0.7) or 1", "math.ceil(T / 3)", "(T + 1) // 2"
    )
    draft.line(f"T = {draft.frames}", f"half = {size}", f"x = {draft.time_slice(draft.pick(':half', '-half:'))}")
    draft.shorter("{n}")


def _largest(draft: Draft) -> None:
    draft.trait("topk by int()")
    size = draft.pick("max(1, int(T / 3))", "math.ceil(T / 2)", "max(1, T // 4)", "min(3, T)", "int(T ** 0.5)")
    draft.line(f"T = {draft.frames}", f"x = x.topk({size}, dim={draft.t}).values")
    draft.shorter("{n}")


def _repeated(draft: Draft) -> None:
    draft.trait("longer")
    longer = draft.pick(
        f"x.repeat_interleave(2, {draft.t})",
        f"torch.cat([x, x], {draft.t})",
        draft.from_channels_first(f"F.interpolate({draft.channels_first()}, scale_factor=2)"),
        draft.from_channels_first(f"F.interpolate({draft.channels_first()}, size=2 * {draft.frames})"),
    )
    draft.line(f"x = {longer}")
    draft.last, draft.is_longer = None, True


def _fixed_frames(draft: Draft) -> None:
    """A constant number of steps, whatever the input's."""
    draft.trait("a fixed number of steps")
    pooled = f"F.adaptive_avg_pool1d({draft.channels_first()}, 4)"
    if draft.coin():
        query = draft.parameter(f"4, {draft.width}")
        draft.line(
            f"z = {draft.of_batch_first('x')}",
            f"weights = torch.softmax({query} @ z.transpose(1, 2), -1)",
            f"x = {draft.of_batch_first('(weights @ z)')}",
        )
    else:
        draft.line(f"x = {draft.from_channels_first(pooled)}")
    draft.lengths = draft.last = None
    draft.is_longer = True


def _windows(draft: Draft) -> None:
    """Windows over time, half a window apart."""
    draft.trait("windows")
    draft.line(
        f"z = F.pad({draft.channels_first()}, (1, 2))",
        "z = z.unfold(2, 4, 2).mean(-1)",
        f"x = {draft.from_channels_first('z')}",
    )
    draft.shorter("({n} + 1) // 2")


def _checked(draft: Draft) -> None:
    """A branch on a size."""
    draft.trait("branch on a size")
    test = draft.pick("> 4", ">= 2", "== 1", "% 2 == 1", "> 100")
    draft.line(f"if {draft.frames} {test}:", f"    x = x * {draft.pick('0.5', '2', '1.0')}")
    draft.last = None


FRAMEWISE: tuple[Piece, ...] = (_linear, _linear, _residual, _norm, _dropout, _glu, _holder, _heads_view)
ACROSS: tuple[Piece, ...] = (
    _conv,
    _conv,
    _strided_conv,
    _causal_conv,
    _conv2d,
    _gate,
    _attention,
    _attention,
    _positions,
    _flip,
    _differences,
    _running_mean,
)
SIZES: tuple[Piece, ...] = (
    _pad_to_multiple,
    _pad_to_multiple,
    _subsample,
    _pool,
    _portion,
    _largest,
    _repeated,
    _fixed_frames,
    _windows,
    _checked,
)

BLOCK = """class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.inner, self.act = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU()
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.act(self.outer(self.act(self.inner(self.norm(x)))))
"""
