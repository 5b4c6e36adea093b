"""Keys of dicts that a pickle may have: those that a checkpoint has, and that are hashed in a short time."""

from typing import Any

from rnnx.weights.pickle_objects import Made, Named, PickleDataError, maker_name

_MOST_LEAVES = 1_000
"""Of a tuple that is a key, counted wherever they are shared: hashing walks them all, and on the C stack."""


def check_key(value: Any) -> bool:
    """Whether the key of a dict is one of those whose hashes a file can choose.

    Raises:
        PickleDataError: it is no key that a checkpoint has, or one that takes long to hash.
    """
    match value:
        case None | bool() | str() | bytes() | Named():
            return False
        case int():
            return abs(value) >= 2**60
        case float():
            return True
        case tuple():
            leaves = _leaves(value)
            if leaves > _MOST_LEAVES:
                raise PickleDataError(f"a tuple of more than {_MOST_LEAVES:,} values for a key")
            return True
        case Made(maker=Named(name=name)) if name.startswith("torch._utils._rebuild_"):
            return False  # a tensor, which is hashed by what it is and not by what is in it
    raise PickleDataError(f"a {maker_name(value)} for a key")


def _leaves(value: tuple[Any, ...]) -> int:
    """How many values hashing a tuple visits, up to the first past what is allowed; checks that it can be hashed."""
    count, waiting = 0, [value]
    while waiting and count <= _MOST_LEAVES:
        for item in waiting.pop():
            count += 1
            if isinstance(item, tuple):
                waiting.append(item)
            else:
                check_key(item)
            if count > _MOST_LEAVES:
                break
    return count
