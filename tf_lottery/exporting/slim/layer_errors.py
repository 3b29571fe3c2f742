"""Errors during slimming name the layer at which they happened, so that callers can export without slimming."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tf_lottery.errors import LotteryError, UnfitError
from tf_lottery.utils.text import one_line


@contextlib.contextmanager
def name_layer_in_errors(part: Any, what: str = "layer") -> Iterator[None]:
    """Turns an unexpected exception into an `UnfitError` that names a layer.

    Errors of this library and `MemoryError` pass through unchanged.

    Args:
        part: The layer, operation or model that is being analyzed or rebuilt.
        what: What `part` is, for the message.

    Raises:
        UnfitError: Instead of any other exception.
    """
    try:
        yield
    except (LotteryError, MemoryError):
        raise
    except Exception as error:
        raise UnfitError(
            f"The {what} {part.name!r} of class {type(part).__name__} can't be slimmed: "
            f"{type(error).__name__}: {one_line(error)}",
            "Export without slimming, or replace that part.",
        ) from error
