"""Names for the frames that a stream carries: of the module that reads them, or of the operator."""

import re

from torch.fx import Node


class CacheNames:
    """Names that stand once each, and are none of those `taken`."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = set(taken)

    def of(self, node: Node) -> str:
        """A name for what is carried for a node's value, such as `encoder_conv1_cache`."""
        stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
        path = next((own for own in reversed(stack) if own.startswith("model")), "").removeprefix("model").strip(".")
        return self.free(re.sub(r"\W", "_", path) or _operator(node))

    def free(self, stem: str) -> str:
        """`<stem>_cache`, with a number where that is taken."""
        stem = stem if stem[0].isalpha() else f"layer_{stem}"
        number, name = 1, f"{stem}_cache"
        while {name, f"{name}_out"} & self._taken:
            number += 1
            name = f"{stem}_cache{number}"
        self._taken |= {name, f"{name}_out"}
        return name


def _operator(node: Node) -> str:
    return str(node.target).split(".")[1].strip("_").removeprefix("scaled_dot_product_")
