"""Whether a tensor of torch's is a plain one, whose values can be read as they lie."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_READABLE_SCHEMES = ("torch.per_tensor_affine", "torch.per_channel_affine")


def tensor_flaw(tensor: "torch.Tensor", file_size: int | None = None) -> str:
    """Why no module can use the tensor, by its layout and size alone; empty for a plain one.

    Sparse tensors are not made dense, for nobody has checked their indices and a few bytes can describe any size. A
    tensor that repeats its elements is one of a file of `file_size` bytes as long as it is no larger than the file.
    """
    if tensor.is_nested:
        return "a nested tensor"
    layout = str(tensor.layout).removeprefix("torch.").lstrip("_")
    if layout != "strided":
        return f"a {'sparse ' if 'sparse' in layout else ''}tensor of the layout {layout}"
    if file_size is not None and tensor.numel() * tensor.element_size() > file_size and not tensor.is_meta:
        return f"{tensor.numel():,} values in a file of {file_size:,} bytes"
    return ""


def value_flaw(tensor: "torch.Tensor") -> str:
    """Why the values of a tensor cannot be read though its layout is plain; empty where they can."""
    if tensor.is_meta:
        return "a tensor on the meta device, which has no values"
    if tensor.is_quantized and str(tensor.qscheme()) not in _READABLE_SCHEMES:
        return f"a tensor of the quantization scheme {str(tensor.qscheme()).removeprefix('torch.')}"
    if type(tensor).__torch_dispatch__ is not _plain_dispatch():
        return f"a tensor of the type {type(tensor).__name__}"
    return ""


def plain_tensor(tensor: "torch.Tensor") -> "torch.Tensor":
    """A tensor without flaw as one on the CPU that has nothing but values; dequantized where it was quantized."""
    import torch

    # by the class: what a file calls `detach` is in the way of the method
    plain: Any = torch.Tensor.detach(tensor).resolve_conj().resolve_neg()
    if any(name is not None for name in getattr(plain, "names", ())):  # axes had names before torch 2.13
        plain = plain.rename(None)
    found: torch.Tensor = (plain.dequantize() if plain.is_quantized else plain).cpu()
    return found


def _plain_dispatch() -> Any:
    import torch

    return torch.Tensor.__torch_dispatch__
