"""Loading a checkpoint into a module: whole or not at all, whatever wrote it around the state dict."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnx.errors import CheckpointError
from rnnx.extras import require
from rnnx.weights.named_tensors import TensorCheckpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of a key that DataParallel and AveragedModel, torch.compile, FSDP and activation checkpointing put in."""

_USUAL_PLACES = ("state_dict", "model_state_dict", "model")
"""Where a training script keeps its state dict, and PyTorch Lightning its own."""

_COUNTERS = ("num_batches_tracked", "n_averaged")
"""Counts of training that no result depends on: of a batch norm, and of an average of weights."""

_EXAMPLES = ("example_inputs", "example_input_array")
"""Attributes that no result depends on either; TorchScript saves them."""

_MOST_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class LoadedState:
    """What was loaded: how many tensors, and the prefix that they have in the checkpoint, empty for none."""

    tensors: int
    prefix: str


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """A module's tensor, under its key; `needed` unless the state dict leaves it out."""

    key: str
    tensor: "torch.Tensor"
    needed: bool


def load_state(module: "nn.Module", checkpoint: TensorCheckpoint, state_dict: str | None = None) -> LoadedState:
    """Load every tensor of a module's state dict, or none.

    A wrapper around the state dict (`state_dict`, `model`, a Lightning module's attribute) and in its keys (`module.`,
    `_orig_mod.`) is looked through. Tied weights may stand under one of their keys alone. Where several state dicts of
    a checkpoint fit, such as the trained weights and their average, `state_dict` names the one to load.

    Raises:
        CheckpointError: tensors are missing, unexpected or of another shape, lists the first ten of each; two parts of
            the checkpoint fit and differ, or none has the name; tied weights differ; or values are beyond what the
            module's dtypes hold.
    """
    slots, keys = _named(module, checkpoint)
    prefix = _chosen_prefix(module, checkpoint, slots, keys, state_dict)
    found = {plain: keys[_joined(prefix, plain)] for plain in slots if _joined(prefix, plain) in keys}
    _refuse_misfit(module, checkpoint, slots, keys, prefix, found)
    values = {plain: _value(module, checkpoint, key, slots[plain]) for plain, key in found.items()}
    _refuse_untied(module, checkpoint, slots, values)
    _copy(module, slots, values)
    return LoadedState(tensors=len(found), prefix=prefix)


def fitting_state_dicts(module: "nn.Module", checkpoint: TensorCheckpoint) -> list[str]:
    """The names of the state dicts in a checkpoint that have every tensor of the module."""
    slots, keys = _named(module, checkpoint)
    return _whole(_places_by_prefix(checkpoint, slots, keys)[1], slots)


def _named(module: "nn.Module", checkpoint: TensorCheckpoint) -> tuple[dict[str, _Slot], dict[str, str]]:
    slots = _by_plain_key({slot.key: slot for slot in _slots(module, checkpoint.name)})
    return slots, _by_plain_key({key: key for key in checkpoint.tensors})


def _slots(module: "nn.Module", source: str) -> Iterable[_Slot]:
    """The state dict's tensors; and buffers and attributes that are not part of it, which TorchScript saves too."""
    torch = require("torch", extra="export", purpose=f"loading {source}")
    lazy = torch.nn.parameter.is_lazy
    state = {key: value for key, value in module.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}
    for key, value in state.items():
        if lazy(value):
            raise CheckpointError(
                f"{type(module).__name__}.{key}",
                got="a lazy parameter, which has no shape yet",
                expected="a module of known sizes",
                remedy="run the module once on an example in the factory",
            )
        yield _Slot(key=key, tensor=value, needed=key.rpartition(".")[2] not in _COUNTERS)
    for key, value in (*module.named_buffers(remove_duplicate=False), *_attributes(module)):
        if key not in state and isinstance(value, torch.Tensor):
            yield _Slot(key=key, tensor=value, needed=False)


def _attributes(module: "nn.Module") -> Iterable[tuple[str, Any]]:
    for name, own in module.named_modules():
        for key, value in vars(own).items():
            if key not in _EXAMPLES:
                yield _joined(name, key), value


def _by_plain_key(named: Mapping[str, Any]) -> dict[str, Any]:
    """The values under their keys without the parts that wrappers put in; as they are where two would be one."""
    plain = {".".join(part for part in key.split(".") if part not in _WRAPPERS): value for key, value in named.items()}
    return plain if len(plain) == len(named) else dict(named)


def _chosen_prefix(
    module: "nn.Module",
    checkpoint: TensorCheckpoint,
    slots: Mapping[str, _Slot],
    keys: Mapping[str, str],
    named: str | None,
) -> str:
    """The prefix under which the whole module is found, else the one under which the most of it is."""
    there, fitting = _places_by_prefix(checkpoint, slots, keys)
    whole = _whole(fitting, slots)
    meant = whole if named is None else [own for own in whole if own == named or own.startswith(f"{named}.")]
    if named is not None and named in meant:
        return named
    if named is None and "" in whole:
        return ""  # with all else in the file unexpected
    if len(meant) == 1 or (meant and named is None and _are_equal(checkpoint, slots, keys, meant)):
        return next((prefix for prefix in meant if prefix in _USUAL_PLACES), meant[0])
    if meant or named is not None:
        shown = " and ".join(map(repr, sorted(whole)[:_MOST_SHOWN])) or "none"
        raise CheckpointError(
            f"{checkpoint.name} for {type(module).__name__}",
            got=f"state dicts that fit: {shown}" + ("" if named is None else f"; none of them is {named!r}"),
            expected="one of them to be named",
            remedy=f"give its name as state_dict: {sorted(whole)[0]}" if whole else "leave state_dict out",
        )
    return min(there, key=lambda prefix: (-len(fitting[prefix]), -len(there[prefix]), len(prefix)), default="")


def _whole(fitting: Mapping[str, set[object]], slots: Mapping[str, _Slot]) -> list[str]:
    needed = {_place(slot.tensor) for slot in slots.values() if slot.needed}
    return [prefix for prefix, places in fitting.items() if places == needed]


def _are_equal(
    checkpoint: TensorCheckpoint, slots: Mapping[str, _Slot], keys: Mapping[str, str], prefixes: list[str]
) -> bool:
    """Whether the state dicts under these prefixes hold the same values, so that it does not matter which is loaded."""
    first, *others = prefixes
    return all(
        (one := keys.get(_joined(first, plain))) is not None
        and (two := keys.get(_joined(other, plain))) is not None
        and _alike(checkpoint.tensor(one), checkpoint.tensor(two))
        for plain, slot in slots.items()
        if slot.needed
        for other in others
    )


def _places_by_prefix(
    checkpoint: TensorCheckpoint, slots: Mapping[str, _Slot], keys: Mapping[str, str]
) -> tuple[dict[str, set[object]], dict[str, set[object]]]:
    """By prefix, which needed tensors of the module are there, and which have the right shape; tied ones count once."""
    there: dict[str, set[object]] = defaultdict(set)
    fitting: dict[str, set[object]] = defaultdict(set)
    depths = sorted({plain.count(".") + 1 for plain in slots})
    for plain, key in keys.items():
        parts = plain.split(".")
        for cut in (len(parts) - depth for depth in depths if depth <= len(parts)):
            slot = slots.get(".".join(parts[cut:]))
            if slot is not None and slot.needed:
                prefix, place = ".".join(parts[:cut]), _place(slot.tensor)
                there[prefix].add(place)
                if checkpoint.tensors[key].shape == tuple(slot.tensor.shape):
                    fitting[prefix].add(place)
    return there, fitting


def _refuse_misfit(
    module: "nn.Module",
    checkpoint: TensorCheckpoint,
    slots: Mapping[str, _Slot],
    keys: Mapping[str, str],
    prefix: str,
    found: Mapping[str, str],
) -> None:
    tied = {_place(slots[plain].tensor) for plain in found}
    missing = [
        slot.key
        for plain, slot in slots.items()
        if slot.needed and plain not in found and _place(slot.tensor) not in tied
    ]
    below = {key: own for key, own in keys.items() if not prefix or key.startswith(f"{prefix}.")}
    own = {_joined(prefix, plain) for plain in slots}
    ignored = (*_COUNTERS, *_EXAMPLES)
    unexpected = [key for plain, key in below.items() if plain not in own and plain.rpartition(".")[2] not in ignored]
    wrong = [
        f"{key} {got} for {expected}"
        for plain, key in found.items()
        if (got := _shown(checkpoint.tensors[key])) and not _fits(checkpoint.tensors[key], slots[plain].tensor)
        if (expected := f"{tuple(slots[plain].tensor.shape)} {_dtype(slots[plain].tensor)}")
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape or kind", wrong))
    if any(names for _, names in parts):
        raise CheckpointError(
            f"{checkpoint.name} for {type(module).__name__}",
            got="; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in parts if names),
            expected=f"the module's {len(slots)} tensors",
            remedy="give the checkpoint that was saved from this module, or build the module that it was saved from",
        )


def _value(module: "nn.Module", checkpoint: TensorCheckpoint, key: str, slot: _Slot) -> "torch.Tensor":
    """A tensor of the checkpoint in the module's own dtype.

    Raises:
        CheckpointError: the dtype cannot hold its values, but as infinity or as another whole number.
    """
    given = checkpoint.tensor(key)
    value = given.to(slot.tensor.dtype)
    if value.dtype != given.dtype and not value.is_complex() and _is_lossy(given, value):
        raise CheckpointError(
            f"{key} of {checkpoint.name} for {type(module).__name__}",
            got=f"{_dtype(given)} values that {_dtype(value)} cannot hold",
            expected=f"values within {_dtype(value)}",
            remedy="build the module in the checkpoint's dtype",
        )
    return value


def _is_lossy(given: "torch.Tensor", value: "torch.Tensor") -> bool:
    if value.is_floating_point():
        return bool((value.isinf() & given.double().isfinite()).any())  # float8 has no isfinite of its own
    return not value.to(given.dtype).equal(given)


def _refuse_untied(
    module: "nn.Module", checkpoint: TensorCheckpoint, slots: Mapping[str, _Slot], values: Mapping[str, "torch.Tensor"]
) -> None:
    """Refuse two values for what is one tensor in the module, of which the last would win."""
    first: dict[Any, str] = {}
    for plain, value in values.items():
        other = first.setdefault(_place(slots[plain].tensor), plain)
        if other != plain and not _alike(value, values[other]):
            raise CheckpointError(
                f"{checkpoint.name} for {type(module).__name__}",
                got=f"different values for {slots[other].key} and {slots[plain].key}",
                expected="equal ones, for the module ties them",
                remedy="give the checkpoint of the tied model, or build the module without the tie",
            )


def _copy(module: "nn.Module", slots: Mapping[str, _Slot], values: Mapping[str, "torch.Tensor"]) -> None:
    """Copy into the module's own tensors; on the meta device there are none, so that the checkpoint's become it."""
    torch = require("torch", extra="export", purpose="loading a checkpoint")
    state = module.state_dict(keep_vars=True)
    meta = any(slots[plain].tensor.is_meta for plain in values)
    shared = {_place(slots[plain].tensor): value for plain, value in values.items()}
    if meta:  # one object for all the keys of a tied parameter, which would come apart
        parameters = {_place(value) for value in state.values() if isinstance(value, torch.nn.Parameter)}
        shared = {
            place: torch.nn.Parameter(value, requires_grad=False) if place in parameters else value
            for place, value in shared.items()
        }
    own = {slot.key: shared[place] for slot in slots.values() if (place := _place(slot.tensor)) in shared}
    module.load_state_dict({key: value for key, value in own.items() if key in state}, strict=False, assign=meta)
    with torch.no_grad():
        for plain, value in values.items():
            if slots[plain].key not in state:
                slots[plain].tensor.copy_(value)


def _place(tensor: "torch.Tensor") -> object:
    """What two keys of one tensor share; tensors without values share nothing."""
    if tensor.is_meta or not tensor.numel():
        return id(tensor)
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _fits(info: Any, tensor: "torch.Tensor") -> bool:
    """Whether the shape is the same, and numbers are not cut off: floats fit floats, integers integers and floats."""
    return info.shape == tuple(tensor.shape) and _kind(info.dtype) <= _kind(_dtype(tensor))


def _kind(dtype: str) -> int:
    """0 for whole numbers, 1 for floats, 2 for complex ones; dtypes are torch's, or safetensors' own (`F8_E4M3`)."""
    if dtype.startswith(("complex", "C")):
        return 2
    return int("float" in dtype or dtype.startswith("F"))


def _alike(first: "torch.Tensor", second: "torch.Tensor") -> bool:
    """Whether two tensors are equal, NaN where NaN is."""
    return first.equal(second) or (first.is_floating_point() and bool(first.isclose(second, 0, 0, True).all()))


def _shown(info: Any) -> str:
    return f"{info.shape} {info.dtype}"


def _dtype(tensor: "torch.Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first(names: list[str]) -> str:
    rest = len(names) - _MOST_SHOWN
    shown = [name if name.isprintable() else repr(name) for name in names[:_MOST_SHOWN]]
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def _joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key
