"""What to write in place of a line that makes a size a plain number of Python's, or chooses a way by it."""

_CALLS = (
    (".tolist()", "hand the tensor itself over, without .tolist()"),
    ("int(", "write x.size(...) without int() around it"),
    ("np.", "write it with torch, such as torch.arange, in place of NumPy"),
    ("list(range(", "write torch.arange(n) in place of a list"),
    ("tensor(range(", "write torch.arange(n) in place of a list"),
    ("len(", "write x.size(0) in place of len(x)"),
)

_WAYS = (
    ("split(", "take the parts by their places, x[:, a:b], with a and b made of x.size(...)"),
    ("chunk(", "take the parts by their places, x[:, a:b], with a and b made of x.size(...)"),
    ("if ", "do the same at all sizes, such as F.pad by -T % n in place of `if T % n`"),
    ("while ", "do the same at all sizes"),
)

_NUMBERS = "write -1 or x.size(...) in place of a number, and slices up to x.size(...)"

_LOOP = "let nn.LSTM or tensor operations go over it instead of Python"


def remedy_for(code: str, *, is_loop: bool = False) -> str:
    """The remedy for a line of code, which may be a loop over the size."""
    calls = (*_CALLS, ("", _LOOP)) if is_loop else (*_CALLS, *_WAYS, ("", _NUMBERS))
    return next(remedy for part, remedy in calls if part in code)
