"""The default profile of a model: wide ranges, narrowed to the sizes at which a whole model was seen to run."""

from rnnx.engines.profiles import default_profile
from rnnx.errors import GoldenError
from rnnx.truths.golden import golden_path
from rnnx.truths.model_cases import EXAMPLE
from rnnx.truths.model_golden import read_model_golden
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract
from rnnx_runtime.files.model_file import OnnxFile
from rnnx_runtime.files.sidecar import Profile, Range


def profile_of(model: OnnxFile) -> Profile:
    """The profile of a model when none is given.

    A convolution takes no time below its kernel, and an engine with a smaller minimum cannot be built: the golden file
    knows the smallest sizes that PyTorch took. Without it the ranges are a layer's.
    """
    ranges = default_profile(model.contract)
    if model.contract.bare:
        return ranges
    try:
        truth = read_model_golden(golden_path(model.path), model.contract)
    except GoldenError:
        return ranges
    return {dim: _narrowed(dim, own, truth.entries, model.contract) for dim, own in ranges.items()}


def _narrowed(dim: str, own: Range, entries: tuple[CaseTruth, ...], contract: Contract) -> Range:
    seen = {entry.case.name: sizes_from_feeds(contract.inputs, entry.case.feeds)[dim] for entry in entries}
    example, smallest = seen.get(EXAMPLE, own.opt), min(seen.values())
    most = max(own.max, 2 * example)
    best = own.opt if smallest <= own.opt and example <= own.max else example
    return Range(min=min(smallest, best), opt=best, max=most)
