"""`directions-interleaved`: forward and backward halves joined in another order than PyTorch's.

ONNX's Y is `(T, D, B, H)`, PyTorch's output `(T, B, D·H)`: D has to be moved next to H before the two are joined.
"""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import Atom
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.fixed_lengths import is_one_step
from rnnx.linting.rules.scopes import is_onnx, shown
from rnnx.linting.rules.shape_values import shape_values


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every Reshape that joins directions with the wrong neighbours."""
    if is_one_step(model, "B"):
        return  # with a single sequence the batch may stand anywhere
    for part in model.parts:
        for node in part.scope.nodes:
            atoms = _joined_atoms(part, node)
            meanings = [atom.meaning for atom in atoms]
            if meanings[-3:] == ["D", "B", "H"]:
                yield _rows_mixed(node, is_output=len(atoms) > 3)
            elif meanings[-2:] == ["H", "D"]:
                yield _units_alternate(node)


def _joined_atoms(part: ExaminedScope, node: NodeProto) -> list[Atom]:
    """The dims before a Reshape whose result ends in a dim of D·H; empty for any other node."""
    if not is_onnx(node, "Reshape") or node.input[0] not in part.axes:
        return []
    atoms = [atom for axis in part.axes[node.input[0]] for atom in axis]
    width = 1
    for atom in atoms:
        width *= atom.size or 1 if atom.meaning in ("D", "H") else 1
    target = shape_values(part.scope, node.input[1])
    has_two = Atom("D", 2) in atoms and any(atom.meaning == "H" and atom.size for atom in atoms)
    return atoms if has_two and target and target[-1] == width else []


def _rows_mixed(node: NodeProto, *, is_output: bool) -> Finding:
    return Finding(
        rule="directions-interleaved",
        severity="error" if is_output else "warning",
        node=shown(node),
        message=f"it joins {'(T, D, B, H)' if is_output else '(D, B, H)'} into rows of D·H with the batch between "
        "them: values of two sequences come into one row on every backend, silently",
        fix="transpose D next to H before the Reshape: " + ("perm [0, 2, 1, 3]" if is_output else "perm [1, 0, 2]"),
    )


def _units_alternate(node: NodeProto) -> Finding:
    return Finding(
        rule="directions-interleaved",
        severity="warning",
        node=shown(node),
        message="it joins H and D with H first: forward and backward values alternate, where PyTorch's output has the "
        "forward half first",
        fix="transpose with perm [0, 2, 1, 3] before the Reshape, unless what follows was made for this order",
    )
