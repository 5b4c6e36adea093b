import importlib.util
from collections.abc import Iterator

import pytest

from rnnx.truths import blas_threads

threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl comes with rnnx[export]")


def _blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def _forgotten_pools() -> Iterator[None]:
    blas_threads._pools.cache_clear()
    yield
    blas_threads._pools.cache_clear()


def test_products_run_on_one_thread_and_on_as_many_as_before_afterwards() -> None:
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        before = _blas_threads()
        with blas_threads.one_thread():
            assert set(_blas_threads()) == {1}
        assert _blas_threads() == before


def test_without_threadpoolctl_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    before = _blas_threads()
    with blas_threads.one_thread():
        assert _blas_threads() == before
