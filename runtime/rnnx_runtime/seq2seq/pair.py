"""An encoder and decoder pair: one call from inputs to rows of tokens, decoded greedily."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.backends.names import BackendName
from rnnx_runtime.contract import Contract, DecoderPart
from rnnx_runtime.errors import ContractError, InputError
from rnnx_runtime.feeding import Feeding
from rnnx_runtime.files.sidecar import read_sidecar, sidecar_path
from rnnx_runtime.loading import load
from rnnx_runtime.seq2seq.manifest import Piece, Seq2SeqManifest, piece_path, read_manifest
from rnnx_runtime.session import Session
from rnnx_runtime.threads.call_gate import CallGate

Tokens = list[int]
Way = Literal["whole", "loop", "step"]


class Seq2Seq:
    """An opened pair. `manifest` is what its file says; `backend` and `device` are where it runs.

    Safe to use from many threads; `close` waits for the calls in flight.
    """

    def __init__(self, manifest: Seq2SeqManifest, sessions: Mapping[str, Session]) -> None:
        """`sessions` by role: `whole` alone, or `encoder` with `loop` or with `decoder`."""
        self.manifest = manifest
        self._sessions = dict(sessions)
        first = next(iter(self._sessions.values()))
        self.backend, self.device = first.backend, first.device
        self._feeding = Feeding(first.spec)
        self._gate = CallGate(self._close_sessions)

    def generate(self, inputs: Mapping[str, Any], *, max_steps: int | None = None) -> list[Tokens]:
        """The tokens of each row of the encoder's inputs, up to and without the end token.

        Args:
            inputs: the encoder's inputs by name, as `Session.run` takes them.
            max_steps: most tokens of a row; the manifest's own when left out, and never more than that.

        Raises:
            InputError: an input or `max_steps` does not fit.
            BackendError: the backend failed.
            SessionClosedError: the pair was closed.
        """
        limit = self._limit(max_steps)
        self._gate.enter()
        try:
            return self._generated(inputs, limit)
        finally:
            self._gate.leave()

    def close(self) -> None:
        """Close every session; returns when the calls in flight are out."""
        self._gate.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_sessions(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _generated(self, inputs: Mapping[str, Any], limit: int) -> list[Tokens]:
        if "whole" in self._sessions:
            session = self._sessions["whole"]
            outputs, _ = session.run(inputs)
            return _rows(outputs, _decoder_of(session.spec, "whole"), limit)
        # The decoder takes lengths as the encoder does: from a list too, or full ones where they are left out.
        given = {name: np.asarray(value) for name, value in self._feeding.feeds(inputs, None, None).items()}
        outputs, _ = self._sessions["encoder"].run(given)
        values = {**given, **outputs}
        passed = {own: values[name] for own, name in self.manifest.passes.items()}
        if "loop" in self._sessions:
            session = self._sessions["loop"]
            state, context = _parted(passed, session.spec)
            outputs, _ = session.run(context, state or None)
            return _rows(outputs, _decoder_of(session.spec, "loop"), limit)
        return self._stepped(passed, limit)

    def _limit(self, max_steps: int | None) -> int:
        most = self.manifest.max_steps
        if max_steps is None:
            return most
        if type(max_steps) is not int or not 1 <= max_steps <= most:
            raise InputError(
                "max_steps",
                got=repr(max_steps),
                expected=f"a whole number from 1 to {most}",
                remedy="leave it out for the pair's own, or export the pair with a larger one",
            )
        return max_steps

    def _stepped(self, passed: Mapping[str, Array], limit: int) -> list[Tokens]:
        session = self._sessions["decoder"]
        part = _decoder_of(session.spec, "decoder")
        state, context = _parted(passed, session.spec)
        token = np.full(_batch(passed, session.spec, part), self.manifest.start_token, np.int64)
        ended, steps = np.zeros(token.shape, bool), list[Array]()
        while len(steps) < limit and not ended.all():
            outputs, state = session.run({part.token or "": token, **context}, state or None)
            token = np.asarray(outputs[part.logits or ""]).argmax(axis=1)
            steps.append(token)
            ended |= token == self.manifest.end_token
        return [_until(row, self.manifest.end_token) for row in np.stack(steps, axis=1)]


def load_seq2seq(
    path: str | os.PathLike[str], backend: BackendName | None = None, *, threads: int = 1, way: Way | None = None
) -> Seq2Seq:
    """Open a pair by its manifest, `<name>.seq2seq.json`.

    Args:
        path: the manifest; its files lie beside it. On `tensorrt` and `tensorrt-rtx` each piece runs from the engine
            `<piece>.plan` that was built from it.
        backend: where to run, as `load` takes it.
        threads: CPU threads of each session.
        way: `whole` for the one graph of all, `loop` for the encoder and the decoder that decodes inside itself, `step`
            for a call of the decoder for each token; the first of these that the pair has, when left out.

    Raises:
        FileDamagedError: a file is missing or is not the one that the manifest names.
        ContractError: the manifest is malformed, its files do not fit each other, or it has no graph for `way`.
        BackendUnavailable: this host cannot run the backend; says exactly why.
        BackendError: the backend refused a piece.
    """
    manifest_path = Path(path)
    manifest = read_manifest(manifest_path)
    sessions: dict[str, Session] = {}
    try:
        for role, piece in _wanted(manifest, manifest_path, way).items():
            file = piece_path(manifest_path, piece)
            if backend in ("tensorrt", "tensorrt-rtx"):
                file = _plan_of(file, piece)
            sessions[role] = load(file, backend, threads=threads)
        _check_fit(manifest, sessions, manifest_path)
    except BaseException:
        for session in sessions.values():
            session.close()
        raise
    return Seq2Seq(manifest, sessions)


def _wanted(manifest: Seq2SeqManifest, path: Path, way: Way | None) -> dict[str, Piece]:
    """The files to open, by role."""
    ways: dict[Way, dict[str, Piece | None]] = {
        "whole": {"whole": manifest.whole},
        "loop": {"encoder": manifest.encoder, "loop": manifest.loop},
        "step": {"encoder": manifest.encoder, "decoder": manifest.decoder},
    }
    there = {name: roles for name, roles in ways.items() if None not in roles.values()}
    if way is not None and way not in there:
        raise ContractError(
            str(path),
            got=f"no way {way!r}",
            expected=" | ".join(there),
            remedy="choose one of these, or export the pair with its loop or as a whole too",
        )
    roles = there[way] if way is not None else next(iter(there.values()))
    return {role: piece for role, piece in roles.items() if piece is not None}


def _plan_of(onnx: Path, piece: Piece) -> Path:
    """The engine of a piece, which its sidecar says was built from this very file."""
    plan = onnx.with_suffix(".plan")
    sidecar = read_sidecar(plan)
    if sidecar.onnx_sha256 != piece.sha256:
        raise ContractError(
            str(sidecar_path(plan)),
            got=f"an engine of another model ({sidecar.onnx_sha256[:12]}…)",
            expected=f"one of {onnx.name} ({piece.sha256[:12]}…)",
            remedy=f"build it again: rnnx build-engine {onnx.name} -o {plan.name}",
        )
    return plan


def _check_fit(manifest: Seq2SeqManifest, sessions: Mapping[str, Session], path: Path) -> None:
    """Compare what the manifest passes with what the encoder has and the decoder takes."""
    for role, session in sessions.items():
        if role == "encoder":
            continue
        part = _decoder_of(session.spec, role)
        if role != "decoder":
            _check_end(manifest, part, role)
        if role == "whole":
            continue
        encoder = sessions["encoder"].spec
        given = {spec.name for spec in (*encoder.outputs, *encoder.inputs)}
        taken = {spec.name for spec in session.spec.inputs} - {part.token}
        if taken != manifest.passes.keys() or not set(manifest.passes.values()) <= given:
            raise ContractError(
                str(path),
                got=f"{dict(manifest.passes)} to pass",
                expected=f"something of {sorted(given)} for each of {sorted(taken)}",
                remedy="the files are of different exports: export the pair again",
            )


def _check_end(manifest: Seq2SeqManifest, part: DecoderPart, role: str) -> None:
    """Compare where a graph that decodes by itself starts and ends with what the manifest says."""
    own = {"start_token": part.start_token, "end_token": part.end_token, "max_steps": part.steps}
    expected = {name: getattr(manifest, name) for name in own}
    if own != expected:
        raise ContractError(
            f"the pair's {role}",
            got=", ".join(f"{name} {value}" for name, value in own.items()),
            expected=", ".join(f"{name} {value}" for name, value in expected.items()),
            remedy="the files are of different exports: export the pair again",
        )


def _decoder_of(spec: Contract, role: str) -> DecoderPart:
    part = spec.decoder
    if part is None or (part.form == "step") != (role == "decoder"):
        raise ContractError(
            f"the pair's {role}",
            got="no decoder" if part is None else f"a decoder as {part.form}",
            expected="a step" if role == "decoder" else "a loop",
            remedy="the files are of different exports: export the pair again",
        )
    return part


def _parted(values: Mapping[str, Array], spec: Contract) -> tuple[dict[str, Array], dict[str, Array]]:
    """What the decoder takes as states and as context."""
    states = {pair.input for pair in spec.states}
    return (
        {name: value for name, value in values.items() if name in states},
        {name: value for name, value in values.items() if name not in states},
    )


def _batch(values: Mapping[str, Array], spec: Contract, part: DecoderPart) -> int:
    dims = {own.name: own.dims for own in spec.inputs}
    (batch,) = dims[part.token or ""]
    sizes = [values[name].shape[dims[name].index(batch)] for name in values if batch in dims[name]]
    return int(sizes[0])


def _rows(outputs: Mapping[str, Array], part: DecoderPart, limit: int) -> list[Tokens]:
    tokens = np.asarray(outputs[part.tokens or ""])[:, :limit]
    end = -1 if part.end_token is None else part.end_token
    return [_until(row, end) for row in tokens]


def _until(row: Array, end: int) -> Tokens:
    tokens: Tokens = row.tolist()
    return tokens[: tokens.index(end)] if end in tokens else tokens
