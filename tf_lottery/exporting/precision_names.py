"""The precisions of TFLite files, by name; light, for the command line."""

BY_QUANTIZER = ("int4", "mixed")
"""Made of the float32 file by LiteRT's quantizer, the extra `quantizer`, and only where they are asked for by name."""
IN_ALL = ("float32", "float16", "dynamic", "int8")
"""What "all" stands for."""
BY_NAME = ("int16x8", *BY_QUANTIZER)
"""Made only where they are asked for by name: each takes a conversion of its own, and is seldom the best."""
PRECISIONS = (*IN_ALL, *BY_NAME)
CALIBRATED = ("int8", "int16x8")
"""Those whose ranges the converter measures, in a process of its own, which some models crash."""
NEED_CALIBRATION = (*CALIBRATED, "mixed")
"""Those that are not made without calibration samples."""
