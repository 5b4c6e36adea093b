from typing import Any

import pytest

from rnnx_runtime import InputError
from rnnx_runtime.backends.session_options import SessionOptions


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None, True, 10**12])
def test_threads_must_be_a_whole_number_of_one_or_more(threads: Any) -> None:
    with pytest.raises(InputError) as caught:
        SessionOptions(threads=threads)
    assert str(caught.value) == f"threads: got {threads!r}, expected a whole number from 1 to 1024; leave it out for 1"


@pytest.mark.parametrize("value", [1, "yes", None])
def test_spinning_must_be_true_or_false(value: Any) -> None:
    with pytest.raises(InputError, match=f"^spinning: got {value!r}, expected True or False; leave it out for True$"):
        SessionOptions(spinning=value)
