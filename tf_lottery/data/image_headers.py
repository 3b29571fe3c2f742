"""What the first bytes of an image file say: its format, its size, whether it has colors. No TensorFlow."""

import struct
from dataclasses import dataclass

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
_STARTS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"GIF87a": "GIF", b"GIF89a": "GIF"}
_PNG_WITHOUT_COLORS = (0, 4)  # gray, and gray with alpha
_UNCOMPRESSED, _LEAST_BMP_HEADER = 0, 40
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers of JPEG
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True)
class ImageHeader:
    """What an image file states about its image.

    Attributes:
        format: one of `FORMATS`.
        height: pixels.
        width: pixels.
        gray: whether the image has one channel, alpha left out.
    """

    format: str
    height: int
    width: int
    gray: bool


class UnsupportedImageError(Exception):
    """The image is of a kind that is not read."""


def image_header(content: bytes) -> ImageHeader | None:
    """Return the header of an image file; None where the content begins as no image of `FORMATS` does.

    Args:
        content: the file, or its first bytes.

    Raises:
        EOFError: the header continues beyond `content`.
        UnsupportedImageError: the decoder would read it wrongly.

    Example:
        >>> image_header(b"GIF89a" + bytes([3, 0, 2, 0]))
        ImageHeader(format='GIF', height=2, width=3, gray=False)
    """
    kind = next((name for start, name in _STARTS.items() if content.startswith(start)), None)
    try:
        match kind:
            case "PNG":
                width, height, _, color_type = struct.unpack_from(">IIBB", content, 16)
                return ImageHeader(kind, height, width, color_type in _PNG_WITHOUT_COLORS)
            case "GIF":
                width, height = struct.unpack_from("<HH", content, 6)
                return ImageHeader(kind, height, width, False)
            case "BMP":
                return _bmp_header(content)
            case "JPEG":
                return _jpeg_header(content)
    except struct.error:
        raise EOFError from None
    return None


def _bmp_header(content: bytes) -> ImageHeader:
    size, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", content, 14)
    # TensorFlow takes the numbers of a palette's colors for shades of gray.
    if size < _LEAST_BMP_HEADER or bits not in (24, 32) or compression != _UNCOMPRESSED:
        raise UnsupportedImageError("a BMP file that has a palette or is compressed")
    return ImageHeader("BMP", abs(height), width, False)  # rows are stored from the top where the height is negative


def _jpeg_header(content: bytes) -> ImageHeader:
    place = 2
    while True:
        fill, marker = struct.unpack_from(">BB", content, place)
        if fill != 0xFF:
            raise EOFError
        if marker in _FRAMES:
            height, width, channels = struct.unpack_from(">HHB", content, place + 5)
            return ImageHeader("JPEG", height, width, channels == 1)
        if marker == 0xFF:  # padding before a marker
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + max(2, struct.unpack_from(">H", content, place + 2)[0])
