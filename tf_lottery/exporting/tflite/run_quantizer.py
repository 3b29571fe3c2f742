"""Quantize the weights of a float32 TFLite file by LiteRT's quantizer (the extra `quantizer`).

Usage: `python -m tf_lottery.exporting.tflite.run_quantizer FLOAT.tflite RECIPE.json OUT.tflite`.

RECIPE.json holds `{"compute": "integer" or "float", "operators": [[scope, operation, bits], ...]}`: a regular
expression for the names of an operator's outputs, the quantizer's name of its kind, and the bits of its weight. Other
operators stay as they are.

It is a program of its own because the quantizer loads LiteRT's interpreter, which can clash with TensorFlow's.
"""

import json
import sys
from pathlib import Path

from tf_lottery.utils.child_process import wrong_usage
from tf_lottery.utils.program_server import end_with_parent


def main(arguments: list[str]) -> int:
    """Run the program; the exit code is 0, or 2 for wrong arguments. Errors end with a traceback on stderr."""
    if len(arguments) != 3:
        return wrong_usage("tf_lottery.exporting.tflite.run_quantizer", "FLOAT.tflite RECIPE.json OUT.tflite")
    end_with_parent()
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    source, recipe, out = arguments
    given = json.loads(Path(recipe).read_text(encoding="utf-8"))
    work = quantizer.Quantizer(source)
    add = work.add_dynamic_config if given["compute"] == "integer" else work.add_weight_only_config
    for scope, operation, bits in given["operators"]:
        add(scope, TFLOperationName(operation), bits)
    Path(out).write_bytes(work.quantize().quantized_model)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
