"""A file as an array of C++: how a program for a microcontroller, which has no file system, holds a model."""

import re
from collections.abc import Sequence

from tf_lottery.exporting.export_report import FileRecord

_PER_LINE = 12


def c_names(name: str) -> tuple[str, str]:
    """Return the names of the source and the header of a TFLite file.

    Example:
        >>> c_names("model_int8_slim.tflite")
        ('model_int8_slim.cc', 'model_int8_slim.h')
    """
    stem = name.removesuffix(".tflite")
    return f"{stem}.cc", f"{stem}.h"


def symbol(name: str) -> str:
    """Return the name of the array that holds a TFLite file.

    Example:
        >>> symbol("2-wake word.tflite")
        'g_2_wake_word_model_data'
    """
    return f"g_{re.sub(r'[^0-9A-Za-z]+', '_', name.removesuffix('.tflite')).strip('_')}_model_data"


def c_source(name: str, content: bytes) -> str:
    """Return the source: the bytes of the file, 16-byte aligned as the interpreter reads them in place, and its length.

    Args:
        name: of the TFLite file.
        content: of the file.
    """
    array = symbol(name)
    lines = [
        "    " + " ".join(f"0x{byte:02x}," for byte in content[at : at + _PER_LINE])
        for at in range(0, len(content), _PER_LINE)
    ]
    return "\n".join(
        [
            f'#include "{c_names(name)[1]}"',
            "",
            f"alignas(16) const unsigned char {array}[] = {{",
            *lines,
            "};",
            f"const unsigned int {array}_len = {len(content)};",
            "",
        ]
    )


def c_header(name: str, record: FileRecord, operators: Sequence[str]) -> str:
    """Return the header: the array, its length, and what a program must know to run it.

    Args:
        name: of the TFLite file.
        record: its entry of the report.
        operators: that the program has to register.
    """
    array = symbol(name)
    guard = f"{array.upper()}_H_"
    facts = [
        f"{name}, SHA-256 {record['sha256']}.",
        f"Operators to register: {', '.join(operators)}.",
        f"Tensor arena: about {record['arena_bytes']:,} bytes. This is an estimate: measure it on the device with",
        "MicroInterpreter::arena_used_bytes().",
    ]
    for edge, tensors in record["quantization"].items():
        for tensor, held in tensors.items():
            facts.append(
                f"{edge[:-1].capitalize()} {tensor}: {held['dtype']}, "
                f"real value = {held['scale']!r} * (value - {held['zero_point']})."
            )
    return "\n".join(
        [
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            *(f"// {fact}" for fact in facts),
            f"extern const unsigned char {array}[];",
            f"extern const unsigned int {array}_len;",
            "",
            f"#endif  // {guard}",
            "",
        ]
    )
