"""What an architecture needs to know of the data: the shape of an image and the number of classes."""

from tf_lottery.errors import UnfitError

Shape = tuple[int, ...]


def check_classifier(name: str, input_shape: Shape, classes: int) -> None:
    """Check that there is one input of a known shape, and a number of classes.

    Args:
        name: the architecture, for messages.
        input_shape: shape of one example, without the batch axis.
        classes: the number of classes.

    Raises:
        UnfitError: The shape is not fixed, or the number of classes is not a positive integer.
    """
    sizes = input_shape if isinstance(input_shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise UnfitError(
            f"The architecture {name!r} takes one input of a known shape, e.g. (28, 28, 1). Received: {input_shape!r}.",
            "Pass your own model for other inputs.",
        )
    if not isinstance(classes, int) or classes < 1:
        raise UnfitError(
            f"The architecture {name!r} is a classifier and must know the number of classes. Received: {classes!r}.",
            "Choose a data set with class labels, or pass your own model.",
        )


def check_images(name: str, input_shape: Shape, classes: int, *, least: int) -> None:
    """Check that the inputs are images of at least `least` pixels a side, with classes.

    Args:
        name: the architecture, for messages.
        input_shape: expected to be (height, width, channels), in pixels.
        classes: the number of classes.
        least: the least height and width, in pixels.

    Raises:
        UnfitError: The inputs are not such images, or the number of classes is not a positive integer.
    """
    check_classifier(name, input_shape, classes)
    if len(input_shape) != 3 or min(input_shape[:2]) < least:
        raise UnfitError(
            f"The architecture {name!r} takes images (height, width, channels) of at least {least}x{least} pixels. "
            f"Received: input shape {tuple(input_shape)}.",
            "Choose 'mlp' or 'fc1', or other data.",
        )
