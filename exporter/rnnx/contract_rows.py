"""A contract as rows for people."""

from collections.abc import Iterator

from rnnx_runtime.contract import Contract, DecoderPart, Recurrence, TensorSpec

Row = tuple[str, str]


def contract_rows(contract: Contract) -> tuple[Row, ...]:
    """The contract's facts as (name, value)."""
    head = _layer_rows(contract.bare, contract.precision) if contract.bare else tuple(_model_rows(contract))
    return (
        *head,
        *_tensor_rows(contract),
        ("streaming", _streaming(contract)),
        ("source", f"{contract.source.file} · {contract.source.module or '(root)'}"),
        ("weights", f"sha256 {contract.source.weights_sha256[:12]}…"),
    )


def _layer_rows(own: Recurrence, precision: str) -> tuple[Row, ...]:
    kind = own.cell.upper() if own.nonlinearity is None else f"RNN ({own.nonlinearity})"
    return ("model", f"{kind} {own.form}: {_sizes(own)}"), ("formulation", f"{own.formulation}, {precision}")


def _streaming(contract: Contract) -> str:
    streaming = contract.streaming
    return f"{streaming.kind}{f': {streaming.reason}' if streaming.reason else ''}"


def _model_rows(contract: Contract) -> Iterator[Row]:
    yield "model", f"whole model, {contract.precision}"
    for part in contract.recurrent:
        kind = f"{part.cell.upper()}{' cell' if part.form != 'encoder' else ''}"
        yield "recurrent", f"{part.name}: {kind}, {_sizes(part)}, {part.formulation}"
    for pair in contract.states:
        yield "state", f"{pair.input} → {pair.output}"
    if contract.lengths:
        yield "lengths", ", ".join(contract.lengths)
    if contract.decoder:
        yield "decoder", _decoder(contract.decoder)


def _decoder(part: DecoderPart) -> str:
    texts: list[str] = [part.form]
    texts += [f"{part.steps} steps"] if part.steps else []
    texts += [f"feeding {'its own argmax' if part.feed == 'argmax' else 'given tokens'}"] if part.feed else []
    tokens = {"start": part.start_token, "end": part.end_token, "pad": part.pad_token}
    return ", ".join([*texts, *(f"{name} token {token}" for name, token in tokens.items() if token is not None)])


def _sizes(own: Recurrence) -> str:
    sizes = f"input {own.input_size}, hidden {own.hidden_size}"
    if own.projection_size != own.hidden_size:
        sizes += f" (h {own.projection_size})"
    return f"{sizes}, {own.layers} layers, {own.directions} directions"


def _tensor_rows(contract: Contract) -> Iterator[Row]:
    for name, specs in (("input", contract.inputs), ("output", contract.outputs)):
        for spec in specs:
            yield name, _tensor(spec)


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {spec.shape}"
