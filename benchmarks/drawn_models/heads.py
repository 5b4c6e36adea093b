"""The last pieces of a model: a result for each step, for each row, or several."""

from drawn_models.draft import Draft


def draw_head(draft: Draft) -> list[str]:
    """The lines that give the results, and the names of these."""
    if draft.stateful:
        form = draft.pick("steps", "steps", "steps", "last step")
    else:
        form = draft.pick("steps", "steps", "row", "row", "row", "both")
    draft.trait(f"head {form}")
    if form == "steps":
        return [_steps(draft)]
    if form == "last step":
        draft.line(f"x = {draft.last_step()}")
        return [_row(draft, "x", draft.width)]
    results = [_steps(draft)] if form == "both" else []
    value, width = pooled(draft)
    draft.line(f"row = {value}")
    return [*results, _row(draft, "row", width)]


def _steps(draft: Draft) -> str:
    width = draft.chance.choice((1, 3, 5))
    head = draft.module("head", f"nn.Linear({draft.width}, {width})", 0.0)
    value = f"{head}(x)"
    if width == 1:
        draft.trait("squeeze(-1)")
        value = draft.pick(f"{value}.squeeze(-1)", f"{value}[..., 0]", f"torch.sigmoid({value}).squeeze(2)")
    else:
        value = draft.pick(
            value, f"{value}.log_softmax(-1)", f"torch.softmax({value}, dim=2)", f"{value}.transpose(0, 1)"
        )
    draft.line(f"steps = {value}")
    return "steps"


def _row(draft: Draft, value: str, width: int) -> str:
    classes = draft.chance.choice((1, 3))
    head = draft.module("head", f"nn.Linear({width}, {classes})", 0.0)
    result = f"{head}({value})"
    if classes == 1:
        draft.trait("squeeze of a row's result")
        result = draft.pick(
            f"{result}.squeeze(1)", f"{result}.squeeze(-1)", f"torch.sigmoid({result}).squeeze()", f"{result}.view(-1)"
        )
    else:
        result = draft.pick(result, f"F.log_softmax({result}, dim=1)", f"torch.softmax({result}, 1)")
    draft.line(f"result = {result}")
    return "result"


def pooled(draft: Draft) -> tuple[str, int]:
    """One vector for each row, and its width."""
    ways = ["last step", "mean", "max", "attention", "mean and max", "first and last"]
    ways += ["hn", "hn"] if draft.last is not None else []
    if draft.lengths is not None:
        ways = [
            "last valid",
            "last valid by index",
            "masked mean",
            "masked max",
            "masked attention",
            "sum by lengths",
            *ways[-2:],
        ]
    way = draft.chance.choice(ways)
    draft.trait(f"pooled by {way}")
    axis, width, n = draft.t, draft.width, draft.lengths
    match way:
        case "hn":
            assert draft.last is not None
            return draft.last, draft.last_width
        case "last step":
            return draft.last_step(), width
        case "mean":
            return f"x.mean({draft.pick(f'dim={axis}', str(axis))})", width
        case "max":
            return draft.pick(f"x.max({axis})[0]", f"x.amax({axis})", f"torch.max(x, dim={axis}).values"), width
        case "mean and max":
            return f"torch.cat([x.mean({axis}), x.max({axis}).values], 1)", 2 * width
        case "first and last":
            first = "x[0]" if draft.time_first else "x[:, 0]"
            return f"torch.cat([{first}, {draft.last_step()}], dim=1)", 2 * width
        case "sum by lengths":
            return f"x.sum({axis}) / {n}.unsqueeze(1).float()", width
    draft.line(f"z = {draft.of_batch_first('x')}")
    match way:
        case "last valid":
            index = draft.pick(
                f"({n} - 1).view(-1, 1, 1).expand(-1, 1, z.size(2))",
                f"({n} - 1).view(-1, 1).expand(len({n}), z.size(2)).unsqueeze(1)",
                f"({n} - 1).long().unsqueeze(1).unsqueeze(2).repeat(1, 1, z.size(2))",
            )
            return f"z.gather(1, {index}).squeeze(1)", width
        case "last valid by index":
            return f"z[torch.arange(z.size(0)), {n}.long() - 1]", width
    if n is not None:
        draft.line(f"keep = torch.arange(z.size(1)).unsqueeze(0) < {n}.unsqueeze(1)")
    match way:
        case "masked mean":
            divisor = draft.pick(f"{n}.unsqueeze(1)", "keep.sum(1, keepdim=True)", f"{n}.float().clamp(min=1)[:, None]")
            return f"(z * keep.unsqueeze(-1)).sum(1) / {divisor}", width
        case "masked max":
            return draft.pick(
                "z.masked_fill(~keep.unsqueeze(-1), -1e9).max(1)[0]",
                "torch.where(keep[:, :, None], z, float('-inf')).amax(1)",
            ), width
    score = draft.module("score", f"nn.Linear({width}, 1)")
    scores = f"{score}(torch.tanh(z)).squeeze(-1)"
    scores = f"{scores}.masked_fill(~keep, float('-inf'))" if n is not None else scores
    draft.line(f"weights = torch.softmax({scores}, dim=1)")
    return draft.pick(
        "(z * weights.unsqueeze(-1)).sum(1)",
        "torch.bmm(weights.unsqueeze(1), z).squeeze(1)",
        "torch.einsum('bt,btf->bf', weights, z)",
    ), width
