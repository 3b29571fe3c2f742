"""Folders of images, one subfolder per class: which files they hold, and which sizes. No TensorFlow."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tf_lottery.data.image_headers import FORMATS, ImageHeader, UnsupportedImageError, image_header
from tf_lottery.errors import DamagedError, ResourceError, UnfitError, UsageError
from tf_lottery.utils.machine import available_memory
from tf_lottery.utils.regular_files import IMPOSSIBLE_NAMES, open_regular

MOST_IMAGES = 1_000_000
"""The most files of a folder of images, of all its parts together."""
MOST_BYTES = 1 << 27
"""The most bytes of an image file: 128 MiB."""
MOST_PIXELS = 100_000_000
"""The most pixels of an image."""
MEMORY_SHARE = 0.8
"""The largest fraction of the free memory that images may take."""
_BYTES_PER_VALUE = 6  # as read, as a part of its own, and as float32
_BYTES_OF_DECODING = 15  # of a pixel: three channels, and those as float32
_HEAD = 1 << 16
_PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_BY_SYSTEMS = ("thumbs.db", "desktop.ini")  # what Windows puts into folders; others hide such files by a "."
_LAYOUT = "Make a subfolder for each class, or `train/` and, if wanted, `validation/`, `test/` with such subfolders."


@dataclass(frozen=True)
class ImageFolder:
    """The files of a folder of images.

    Attributes:
        path: the folder.
        class_names: the names of the class folders, sorted; the place of a name is the label.
        parts: for each of "train", "validation" and "test" that there is, the files and their labels, sorted by class
            and name.
    """

    path: Path
    class_names: tuple[str, ...]
    parts: dict[str, tuple[tuple[Path, int], ...]]

    @property
    def size(self) -> int:
        """The number of files."""
        return sum(map(len, self.parts.values()))


def list_images(folder: str | os.PathLike[str]) -> ImageFolder:
    """Return the image files of a folder; none of them is opened.

    Hidden files and folders are left out, and files beside the folders of classes.

    Args:
        folder: a folder with a subfolder for each class, or with `train/` and, where there are such parts,
            `validation/` (or `val/`) and `test/`, each of which has a subfolder for each class.

    Raises:
        UsageError: there is no such folder, or no disk has a place for such a path.
        UnfitError: it holds something else, one class only, or too many files.
        ResourceError: it may not be read.
    """
    path = Path(os.path.expanduser(folder))
    with _readable(path):
        if not path.is_dir():
            raise UsageError(
                f"There is no folder {path} to read images from.",
                "Correct the path; a relative one starts at the current folder. Names of data sets have no separator: "
                "`tf_lottery.data.describe()`.",
            )
        folders = _subfolders(path)
    if "train" in folders:
        of_parts = _part_folders(path, folders)
    elif folders and set(folders) <= set(_PARTS):
        raise UnfitError(f"{path} has no folder 'train', only: {', '.join(folders)}.", _LAYOUT)
    else:
        of_parts = {"train": path}
    class_names = tuple(_classes(of_parts["train"]))
    parts: dict[str, tuple[tuple[Path, int], ...]] = {}
    left = MOST_IMAGES
    for name, part in of_parts.items():
        parts[name] = _files_and_labels(part, class_names, most=left)
        left -= len(parts[name])
    return ImageFolder(path, class_names, parts)


def check_images(images: ImageFolder, *, image_size: int | None = None) -> tuple[int, int, int]:
    """Read the header of every image, and return the shape of all once they are read: (height, width, channels).

    Args:
        images: the files.
        image_size: the height and width in pixels to which images are to be resized; None keeps their size.

    Raises:
        UnfitError: a file is no image, too large, or of another size than others where `image_size` is None.
        DamagedError: a file ends within its header.
        ResourceError: a file may not be read, or the images do not fit in memory.
    """
    headers = {path: read_header(path) for files in images.parts.values() for path, _ in files}
    sizes = Counter((header.height, header.width) for header in headers.values())
    if image_size is None and len(sizes) > 1:
        common = ", ".join(f"{h}x{w} ({count:,})" for (h, w), count in sizes.most_common(3))
        more = f", and {len(sizes) - 3:,} more sizes" if len(sizes) > 3 else ""
        raise UnfitError(
            f"The images in {images.path} must be of one size. Received (height x width): {common}{more}.",
            "Resize them: `image_size=32`, or another number of pixels.",
        )
    height, width = (image_size, image_size) if image_size is not None else next(iter(sizes))
    shape = (height, width, 1 if all(header.gray for header in headers.values()) else 3)
    _check_memory(images, shape, largest=max(h * w for h, w in sizes))
    return shape


def read_header(path: Path) -> ImageHeader:
    """Return what an image file says about its image.

    Args:
        path: the file.

    Raises:
        UnfitError: it is no image of a known format, no regular file, or too large.
        DamagedError: it is empty, or ends within its header.
        ResourceError: it may not be read.
    """
    with _readable(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(_HEAD)
        try:
            try:
                header = image_header(content)
            except EOFError:  # a JPEG file may have a preview before its header
                header = image_header(content + file.read(MOST_BYTES))
        except EOFError:
            raise broken(path, "it ends within its header") from None
        except UnsupportedImageError as error:
            raise UnfitError(f"{path} is {error}, which is not read.", "Convert it to PNG.") from None
    if not content:
        raise broken(path, "it is empty")
    if header is None:
        raise UnfitError(
            f"{path} is no image: its content is not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
            "Take it out of the folder of its class, or convert it to PNG.",
        )
    if header.height < 1 or header.width < 1:
        raise broken(path, f"its size is {header.height}x{header.width}")
    if header.height * header.width > MOST_PIXELS or size > MOST_BYTES:
        raise UnfitError(
            f"{path} must have at most {MOST_PIXELS:,} pixels in {MOST_BYTES:,} bytes. Received: "
            f"{header.height}x{header.width} in {size:,} bytes.",
            "Make it smaller.",
        )
    return header


def broken(path: Path, reason: str) -> DamagedError:
    """Return the error for an image file that can't be decoded.

    Args:
        path: the file.
        reason: why not.
    """
    return DamagedError(f"The image {path} is damaged: {reason}.", "Replace it, or take it out of the folder.")


def _check_memory(images: ImageFolder, shape: tuple[int, int, int], *, largest: int) -> None:
    height, width, channels = shape
    needed = images.size * height * width * channels * _BYTES_PER_VALUE + largest * _BYTES_OF_DECODING
    free = available_memory()
    if free is not None and needed > MEMORY_SHARE * free:
        raise ResourceError(
            f"{images.size:,} images of {height}x{width}x{channels} in {images.path} take {needed / 1e9:,.1f} GB of "
            f"memory, more than {MEMORY_SHARE:.0%} of the {free / 1e9:,.1f} GB that are free.",
            "Resize them to fewer pixels by `image_size`, take fewer images, or free memory.",
        )


def _part_folders(path: Path, folders: list[str]) -> dict[str, Path]:
    others = [name for name in folders if name not in _PARTS]
    if others or {"val", "validation"} <= set(folders):
        raise UnfitError(
            f"Beside 'train' in {path} may be one of 'validation' and 'val', and 'test'. Received: "
            f"{', '.join(folders[:10])}.",
            _LAYOUT,
        )
    by_part = {_PARTS[name]: path / name for name in folders}
    return {name: by_part[name] for name in ("train", "validation", "test") if name in by_part}


def _classes(folder: Path) -> list[str]:
    with _readable(folder):
        names = _subfolders(folder)
    if len(names) < 2:
        received = f"one, {names[0]!r}" if names else "none"
        raise UnfitError(f"{folder} must have subfolders of two classes at least. Received: {received}.", _LAYOUT)
    return names


def _files_and_labels(folder: Path, class_names: tuple[str, ...], *, most: int) -> tuple[tuple[Path, int], ...]:
    with _readable(folder):
        names = _subfolders(folder)
    unknown = [name for name in names if name not in class_names]
    if unknown or not names:
        raise UnfitError(
            f"The classes in {folder} must be among those of the training part. Received: "
            f"{', '.join(map(repr, unknown[:10])) or 'none'}.",
            _LAYOUT,
        )
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(class_names):
        if name not in names:
            continue
        with _readable(folder / name):
            of_class = _files(folder / name, most=most - len(files))
        if not of_class:
            raise UnfitError(f"The folder {folder / name} holds no image.", "Put images of that class there.")
        files += [(path, label) for path in of_class]
    return tuple(files)


def _files(folder: Path, *, most: int) -> list[Path]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if entry.is_dir():
                raise UnfitError(
                    f"{entry.path} is a folder inside the folder of a class.", "Put its images directly into the class."
                )
            names.append(entry.name)
            if len(names) > most:
                raise UnfitError(
                    f"A folder of images may hold {MOST_IMAGES:,} files. Received: more, up to {folder}.",
                    "Take fewer images.",
                )
    return [folder / name for name in sorted(names)]


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not _is_hidden(entry.name) and entry.is_dir())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _BY_SYSTEMS


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, DamagedError | ResourceError):
            raise
        if error.errno in IMPOSSIBLE_NAMES:
            raise UsageError(f"{path} cannot be a path: {error.strerror}.", "Give another path.") from error
        if error.errno in (errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.EFBIG):
            raise UnfitError(
                f"{path} is no image: {error.strerror}.", "Take it out of the folder of its class."
            ) from error
        raise ResourceError(f"{path} cannot be read: {error.strerror}.", "Check it and its permissions.") from error
