"""Tests of what holds of dense training and of the sparse kernels alike, and what they do where there are none."""

import pytest


def skip_without_kernels(sparse: str) -> None:
    """Skip a test of the sparse kernels, with the reason, where there are none.

    Args:
        sparse: the setting that the test is for: "off" needs no kernels.
    """
    from tf_lottery.layers.sparse import kernels

    if sparse != "off" and not kernels():
        pytest.skip(f"training is dense, without sparse kernels: {kernels().reason}")


def with_kernels(names, *, dense_only=(), normal=()):
    """Pairs of a name and "off" or "on". With the kernels, which compile for each engine, most are slow.

    Args:
        names: of the cases.
        dense_only: those that the kernels refuse.
        normal: those that are in the normal set with the kernels too.
    """
    on = [name for name in names if name not in dense_only]
    dense = [(name, "off") for name in names]
    return dense + [pytest.param(name, "on", marks=() if name in normal else pytest.mark.slow) for name in on]
