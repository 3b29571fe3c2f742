"""Names of files that TensorFlow's readers take as they are."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def openable(prefix: str | Path) -> Iterator[str]:
    r"""A name by which TensorFlow can open a checkpoint or a SavedModel.

    Its reader takes a name for a pattern, in which "[" and "\" do not stand for themselves, and it takes UTF-8 only.
    Such a folder is reached by a link.
    """
    path = Path(prefix)
    if "[" not in str(path) and "\\" not in str(path) and str(path).isprintable():
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        os.symlink(path.parent.absolute(), link, target_is_directory=True)
        yield str(link / path.name)
