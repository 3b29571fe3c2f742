"""The processor of this machine, as far as it matters to sparse kernels."""

import platform
from dataclasses import dataclass

from tf_lottery.utils.machine import processor_flags


@dataclass(frozen=True)
class Processor:
    """A processor, as far as it matters to sparse kernels.

    Attributes:
        name: its kind, e.g. "x86 with AVX".
        sparse_convolutions: whether XNNPACK's sparse convolutions run on it.
    """

    name: str
    sparse_convolutions: bool


def describe_processor(machine: str | None = None, flags: str | None = None) -> Processor:
    """Return the processor of this machine, or of a machine by its architecture and flags.

    XNNPACK switches its sparse convolutions off on x86 with AVX, where dense ones are faster.

    Args:
        machine: e.g. "x86_64", "aarch64"; by default this machine's.
        flags: its capabilities, separated by spaces; by default those that Linux lists. Where they are not known, x86
            counts as having AVX, as nearly all have.

    Example:
        >>> describe_processor("aarch64")
        Processor(name='ARM (aarch64)', sparse_convolutions=True)
        >>> describe_processor("x86_64", "fpu sse2 avx").sparse_convolutions
        False
    """
    machine = (machine or platform.machine()).lower()
    if machine.startswith(("arm", "aarch64")):
        return Processor(f"ARM ({machine})", True)
    if machine not in ("x86_64", "amd64", "i386", "i686", "x86"):
        return Processor(machine or "unknown", True)
    known = processor_flags() if flags is None else frozenset(flags.split())
    avx = not known or "avx" in known
    return Processor("x86 with AVX" if avx else "x86 without AVX", not avx)


TARGETS = {
    "android": describe_processor("aarch64"),
    "ios": describe_processor("arm64"),
    "x86": describe_processor("x86_64", "avx"),
}
"""The processors of usual targets."""
