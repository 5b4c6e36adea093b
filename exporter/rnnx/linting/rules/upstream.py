"""What a tensor is made of, within one scope."""

from rnnx.linting.rules.scopes import Scope, is_onnx

_HANDING_ON = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose")
_MOST = 10_000


def upstream_of(scope: Scope, name: str) -> set[str]:
    """A tensor and all tensors of its scope that it depends on."""
    seen, waiting = {name}, [name]
    while waiting and len(seen) < _MOST:
        node = scope.producer(waiting.pop())
        new = [own for own in (node.input if node is not None else ()) if own and own not in seen]
        seen.update(new)
        waiting += new
    return seen


def handed_through(scope: Scope, name: str) -> str:
    """The tensor that another one is, but for its type and shape."""
    for _ in range(64):
        node = scope.producer(name)
        if node is None or not is_onnx(node, *_HANDING_ON):
            break
        name = node.input[0]
    return name
