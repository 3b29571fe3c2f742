"""The exception tree: every failure that a user can mend, with its cause, its remedy and an exit code.

A `LotteryError` carries two sentences: `cause` (what was expected, what came, where) and `remedy` (what to do). Each
class also derives from the built-in exception that a Python caller would expect, so `except ValueError` works as usual.
"""


class LotteryError(Exception):
    """Base of all errors that this library raises on purpose.

    Args:
        cause: one line: what was expected, what came, and where.
        remedy: one line: what to do about it.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} {self.remedy}".strip()


class CheckFailed(LotteryError):
    """A check or a claim did not hold (exit code 1)."""

    exit_code = 1


class UsageError(LotteryError, ValueError):
    """An argument or a configuration is wrong (exit code 2)."""

    exit_code = 2


class UnfitError(LotteryError, ValueError):
    """Data or a model that is whole, but not fit for the job (exit code 3)."""

    exit_code = 3


class NonFiniteError(UnfitError, ArithmeticError):
    """A weight, a score or a loss is NaN or infinite (exit code 3)."""


class RunInUseError(LotteryError, RuntimeError):
    """Another process holds the run directory (exit code 4)."""

    exit_code = 4


class DamagedError(LotteryError, ValueError):
    """A file is truncated, altered or unreadable (exit code 5)."""

    exit_code = 5


class ResourceError(LotteryError, OSError):
    """Disk, permission or device trouble (exit code 6)."""

    exit_code = 6

    def __str__(self) -> str:
        return LotteryError.__str__(self)
