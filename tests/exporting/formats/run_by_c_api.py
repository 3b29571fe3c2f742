"""Run a SavedModel by the C API of TensorFlow, without its Python: LIBRARIES SAVED_MODEL INPUT OUTPUT FOLDER.

FOLDER has the input, `x.npy`, and gets `output.npy`, of two dimensions.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

FLOAT = 1
POINTER = ctypes.c_void_p


class Output(ctypes.Structure):
    _fields_ = [("operation", POINTER), ("index", ctypes.c_int)]


def main(libraries, file, input_name, output_name, folder):
    ctypes.CDLL(f"{libraries}/libtensorflow_framework.so.2", mode=ctypes.RTLD_GLOBAL)
    api = ctypes.CDLL(f"{libraries}/libtensorflow_cc.so.2")

    def call(name, *arguments, returns=POINTER):
        function = getattr(api, name)
        function.restype = returns
        return function(*arguments)

    status, graph = POINTER(call("TF_NewStatus")), POINTER(call("TF_NewGraph"))

    def check():
        if call("TF_GetCode", status, returns=ctypes.c_int):
            raise SystemExit(call("TF_Message", status, returns=ctypes.c_char_p).decode())

    def tensor(name):
        operation, _, index = name.partition(":")
        return Output(call("TF_GraphOperationByName", graph, operation.encode()), int(index))

    options, tags = POINTER(call("TF_NewSessionOptions")), (ctypes.c_char_p * 1)(b"serve")
    session = POINTER(call("TF_LoadSessionFromSavedModel", options, None, file.encode(), tags, 1, graph, None, status))
    check()
    x = np.load(Path(folder) / "x.npy")
    shape = (ctypes.c_int64 * x.ndim)(*x.shape)
    given = POINTER(call("TF_AllocateTensor", FLOAT, shape, x.ndim, ctypes.c_size_t(x.nbytes)))
    ctypes.memmove(call("TF_TensorData", given), x.ctypes.data, x.nbytes)
    inputs, outputs = (Output * 1)(tensor(input_name)), (Output * 1)(tensor(output_name))
    values, results = (POINTER * 1)(given.value), (POINTER * 1)()
    call("TF_SessionRun", session, None, inputs, values, 1, outputs, results, 1, None, 0, None, status, returns=None)
    check()
    received = POINTER(results[0])
    size = [call("TF_Dim", received, axis, returns=ctypes.c_int64) for axis in range(2)]
    data = ctypes.string_at(call("TF_TensorData", received), 4 * size[0] * size[1])
    np.save(Path(folder) / "output.npy", np.frombuffer(data, np.float32).reshape(size))


if __name__ == "__main__":
    main(*sys.argv[1:])
