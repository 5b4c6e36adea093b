"""The first piece of a model: what `forward` takes, floats or tokens, and lengths in all forms that people give."""

from drawn_models.draft import Draft

WIDTHS = (6, 8, 8)


def draw_inputs(draft: Draft) -> None:
    """`x` of features or of embedded tokens, and for some models lengths, a mask or a state beside it."""
    draft.width = draft.chance.choice(WIDTHS)
    if draft.coin(0.3):
        _tokens(draft)
    else:
        draft.parameters["x"] = f"torch.randn({draft.lead}, {draft.width}, generator=g)"
    if not draft.stateful and draft.coin(0.4):
        _lengths(draft)


def _tokens(draft: Draft) -> None:
    draft.trait("tokens")
    draft.parameters["tokens"] = f"torch.randint(0, 20, ({draft.lead}), generator=g)"
    embedding = draft.module("embed", f"nn.Embedding(20, {draft.width})")
    draft.line(f"x = {embedding}(tokens)")


def _lengths(draft: Draft) -> None:
    """Lengths as `n (B,)` of int64, whatever they come as."""
    draft.sorted_lengths = draft.coin(0.3)
    draft.lengths = "n"
    form = draft.pick(
        "(B,)", "(B,)", "(B, 1)", "(B, 1) squeeze", "column", "int32", "mask", "float mask", "padding mask", "relative"
    )
    draft.trait(f"lengths {form}")
    match form:
        case "(B,)":
            draft.parameters["lengths"] = "n"
            draft.line("n = lengths")
        case "(B, 1)":
            draft.parameters["lengths"] = "n.unsqueeze(1)"
            draft.line(draft.pick("n = lengths[:, 0]", "n = lengths.view(-1)", "n = lengths.flatten()"))
        case "(B, 1) squeeze":
            draft.parameters["lengths"] = "n.unsqueeze(1)"
            draft.line("n = lengths.squeeze(1)")
        case "column":
            draft.parameters["info"] = "torch.stack([torch.arange(B), n], 1)"
            draft.line("n = info[:, 1]")
        case "int32":
            draft.parameters["lengths"] = "n.int()"
            draft.line(draft.pick("n = lengths", "n = lengths.long()", "n = lengths.to(torch.int64)"))
        case "mask":
            draft.parameters["mask"] = "torch.arange(T)[None] < n[:, None]"
            draft.line(draft.pick("n = mask.sum(1)", "n = mask.long().sum(dim=1)", "n = mask.int().sum(-1)"))
        case "float mask":
            draft.parameters["mask"] = "(torch.arange(T)[None] < n[:, None]).float()"
            draft.line("n = mask.sum(1).long()")
        case "padding mask":
            draft.parameters["padding"] = "torch.arange(T)[None] >= n[:, None]"
            draft.line(draft.pick("n = (~padding).sum(1)", f"n = {draft.frames} - padding.sum(-1)"))
        case "relative":
            draft.parameters["portion"] = "n / T"
            draft.line(f"n = torch.round(portion * {draft.frames}).long()")
