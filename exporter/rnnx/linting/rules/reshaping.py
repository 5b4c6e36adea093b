"""Which of a tensor's dims go into which dim of a Reshape's result.

https://onnx.ai/onnx/operators/onnx__Reshape.html: a reshape keeps the elements' order, so the result's dims are runs of
neighbouring dims, and known sizes at the end say where those runs begin.
"""

from collections.abc import Sequence

from rnnx.linting.rules.axes import Atom, Axes, Axis
from rnnx.linting.rules.shape_values import Values


def matched(axes: Axes, target: Values, *, keeps_zero: bool) -> tuple[Axis, ...] | None:
    """For each value of the target shape the atoms that it holds; None where that cannot be told.

    A 0 in the target copies a dim, unless `keeps_zero` (allowzero=1) makes it a zero.
    """
    front: list[Axis] = []
    if not keeps_zero:
        while len(front) < min(len(axes), len(target)) and target[len(front)] == 0:
            front.append(axes[len(front)])
    atoms = [atom for axis in axes[len(front) :] for atom in axis]
    middle, back = _from_the_end(atoms, list(target[len(front) :]))
    groups = _in_order(atoms, middle)
    return None if groups is None else (*front, *groups, *back)


def _from_the_end(atoms: list[Atom], target: list[int | None]) -> tuple[list[int | None], list[Axis]]:
    """Take fixed dims off the end of both, as long as known sizes multiply to them; returns the rest and the groups."""
    back: list[Axis] = []
    while target and target[-1] is not None and target[-1] > 0:
        group = _run_of_size(atoms, target[-1])
        if group is None:
            break
        del atoms[len(atoms) - len(group) :]
        target = target[:-1]
        back.insert(0, group)
    return target, back


def _run_of_size(atoms: Sequence[Atom], size: int) -> Axis | None:
    """The last atoms whose sizes multiply to `size`."""
    product = 1
    for count, atom in enumerate(reversed(atoms), 1):
        if atom.size is None:
            return None
        product *= atom.size
        if product == size and not (size == 1 and count > 1):
            return tuple(atoms[len(atoms) - count :])
        if product > size:
            return None
    return None


def _in_order(atoms: list[Atom], target: Sequence[int | None]) -> list[Axis] | None:
    """The remaining dims one for one, the one that is -1 taking what is left over."""
    if len(atoms) > len(target):
        atoms = [atom for atom in atoms if atom.size != 1]
    if len(atoms) == len(target):
        return [(atom,) for atom in atoms]
    if len(target) == 1:
        return [tuple(atoms)]
    free = [atom for atom in atoms if atom.size is None]
    count = len(target) - 1
    if count < len(atoms) and target and target[-1] == -1 and atoms[:count] == free:
        return [*((atom,) for atom in atoms[:count]), tuple(atoms[count:])]
    return None
