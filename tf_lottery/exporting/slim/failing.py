"""Whatever goes wrong at a layer is told as such, so that callers can go on without slimming."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tf_lottery.errors import LotteryError, UnfitError
from tf_lottery.utils.text import one_line


@contextlib.contextmanager
def failing_at(part: Any, what: str = "layer") -> Iterator[None]:
    """Turn an error that nobody foresaw into one that names where it was; those of this library go through.

    Args:
        part: the layer, operation or model that is at work.
        what: what that is, for the message.

    Raises:
        UnfitError: instead of any other exception.
    """
    try:
        yield
    except (LotteryError, MemoryError):
        raise
    except Exception as error:
        raise UnfitError(
            f"The {what} {part.name!r} of class {type(part).__name__} can't be slimmed: "
            f"{type(error).__name__}: {one_line(error)}",
            "Go on without slimming, or replace that part.",
        ) from error
