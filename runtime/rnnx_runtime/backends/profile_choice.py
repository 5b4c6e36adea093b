"""Which of an engine's optimization profiles serves a call."""

import math
from collections.abc import Mapping, Sequence

from rnnx_runtime.errors import InputError
from rnnx_runtime.files.sidecar import Profile


def choose_profile(profiles: Sequence[Profile], sizes: Mapping[str, int]) -> int:
    """The index of the profile whose opt is nearest to `sizes`, such as `{"T": 20, "B": 3}`, of those that hold them.

    Raises:
        InputError: no profile holds the sizes; lists the ranges of all.
    """
    fitting = [index for index, profile in enumerate(profiles) if all(_holds(profile, d, n) for d, n in sizes.items())]
    if not fitting:
        raise _no_profile(profiles, sizes)
    return min(fitting, key=lambda index: _distance(profiles[index], sizes))


def _holds(profile: Profile, dim: str, size: int) -> bool:
    return profile[dim].min <= size <= profile[dim].max


def _distance(profile: Profile, sizes: Mapping[str, int]) -> float:
    """How far the sizes are from opt, in factors: twice as large is as far as half as large."""
    return sum(abs(math.log(size / profile[dim].opt)) for dim, size in sizes.items())


def _no_profile(profiles: Sequence[Profile], sizes: Mapping[str, int]) -> InputError:
    hopeless = [dim for dim, size in sizes.items() if not any(_holds(profile, dim, size) for profile in profiles)]
    named = hopeless or list(sizes)  # each size alone may fit some profile while no profile fits them all
    wide_enough = ",".join(f"{dim}=1:{size}:{size}" for dim, size in sizes.items())
    return InputError(
        f"dim {' and '.join(named)}",
        got=", ".join(f"{dim}={sizes[dim]}" for dim in named),
        expected=" or ".join(", ".join(f"{d} {r.min}..{r.max}" for d, r in profile.items()) for profile in profiles),
        remedy=f"run pieces that fit, or add a profile that holds it: rnnx build-engine --profile {wide_enough}",
    )
