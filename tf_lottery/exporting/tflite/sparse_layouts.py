"""In which layouts the weights of a dense file are worth storing sparse."""

from tf_lottery.exporting.tflite import encoding

NO_SPARSE_INT4 = "int4 weights have no sparse form, since DENSIFY takes none; `precision='mixed'` has one of int8"


def sparse_layouts(content: bytes, precision: str) -> dict[str, bytes]:
    """Return the sparse forms of a dense file that pay, by layout: "1x4" or "1x16", "rows"; none if none does.

    Args:
        content: the dense file.
        precision: one of `precision_names.PRECISIONS`.
    """
    stored_as = "dynamic" if precision == "mixed" else precision
    rows, row_count, _ = encoding.encode_weights(content, precision=stored_as, blocks=False)
    blocks, _, block_count = encoding.encode_weights(content, precision=stored_as, blocks=True)
    # Blocks are faster than rows but for int8, whose rows run as dense convolutions.
    contents = {}
    if block_count and (precision != "int8" or len(blocks) < len(rows)):
        contents[f"1x{encoding.BLOCKS[stored_as]}"] = blocks
    if row_count and (not contents or len(rows) < len(blocks)):
        contents["rows"] = rows
    return contents
