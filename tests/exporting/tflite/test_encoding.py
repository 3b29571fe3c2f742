"""Sparse tensors by hand, and the rewriting of converted files."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from independent_reader import read

from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.tflite import encoding, flatbuffers, run_converter, sparse_tensors
from tf_lottery.exporting.tflite import tflite_writer as tflite


def rows_of(parameters, axis):
    dimension = parameters.dimMetadata[axis]
    return dimension.arraySegments.values.tolist(), dimension.arrayIndices.values.tolist()


def test_rows_by_hand():
    array = np.array([[0, 5, 0, 7], [0, 0, 0, 0], [9, 0, 0, 0]], np.float32)
    parameters, values = sparse_tensors.encode(array)
    assert values.tolist() == [5, 7, 9]
    assert rows_of(parameters, 1) == ([0, 2, 2, 3], [1, 3, 0])
    assert parameters.dimMetadata[0].denseSize == 3
    assert list(parameters.traversalOrder) == [0, 1]
    assert parameters.blockMap is None


def test_blocks_by_hand():
    array = np.array([[0, 0, 0, 0, 1, 0, 0, 2], [3, 0, 0, 0, 0, 0, 0, 0]], np.int8)
    parameters, values = sparse_tensors.encode(array, block=4)
    assert values.tolist() == [1, 0, 0, 2, 3, 0, 0, 0]
    assert rows_of(parameters, 1) == ([0, 1, 2], [1, 0])
    assert parameters.dimMetadata[2].denseSize == 4
    assert (list(parameters.traversalOrder), list(parameters.blockMap)) == ([0, 1, 2], [1])


def test_positions_take_the_narrowest_type():
    wide = np.zeros((1, 300), np.float32)
    wide[0, 299] = 1
    parameters, _ = sparse_tensors.encode(wide)
    assert parameters.dimMetadata[1].arrayIndices.values.dtype == np.uint16
    wider = np.zeros((1, 70_000), np.float32)
    wider[0, -1] = 1
    assert sparse_tensors.encode(wider)[0].dimMetadata[1].arrayIndices.values.dtype == np.int32


def test_sizes_by_hand():
    # Two values of 4 bytes at 1-byte positions, three rows that begin at four 1-byte places.
    array = np.array([[1, 0, 0], [0, 0, 0], [0, 2, 0]], np.float32)
    assert sparse_tensors.encoded_bytes(array) == 2 * (4 + 1) + 4
    assert sparse_tensors.encoded_bytes(np.eye(4, dtype=np.float32), block=4) == 4 * (16 + 1) + 5


def test_density_of_blocks():
    array = np.zeros((2, 8))
    array[0, 5] = array[1, 0] = array[1, 1] = 1
    assert sparse_tensors.block_density(array, 4) == 0.5
    assert sparse_tensors.block_density(array, 16) == 1.0


@settings(max_examples=150, deadline=None)
@given(
    npst.arrays(
        st.sampled_from([np.float32, np.int8, np.float16]),
        npst.array_shapes(min_dims=2, max_dims=4, max_side=7),
        elements=st.sampled_from([0, 0, 0, 1, -2]),
    ),
    st.sampled_from([1, 2, 4]),
)
def test_every_array_decodes_to_itself(array, block):
    if array.ndim > 2 or array.shape[-1] % block:
        block = 1
    parameters, values = sparse_tensors.encode(array, block=block)
    decoded = sparse_tensors.decode(parameters, values, array.shape)
    np.testing.assert_array_equal(decoded, array)
    assert decoded.dtype == array.dtype
    if block == 1:
        assert np.count_nonzero(values) == values.size == np.count_nonzero(array)


def test_an_empty_row_array_is_all_zero():
    parameters, values = sparse_tensors.encode(np.zeros((3, 4), np.float32))
    assert values.size == 0
    assert sparse_tensors.decode(parameters, values, (3, 4)).sum() == 0


def test_what_does_not_decode_is_an_error(monkeypatch):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    model.layers[0].kernel.assign(np.eye(64))
    whole = sparse_tensors.encode
    monkeypatch.setattr(encoding.sparse_tensors, "encode", lambda *a, **k: (whole(*a, **k)[0], whole(*a, **k)[1] * 2))
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        content = tflite.convert_dense(model, Path(folder))
    with pytest.raises(ArithmeticError, match="does not decode"):
        encoding.encode_weights(content, precision="float32")


def test_a_float16_table_is_stored_sparse_in_float32(tmp_path):
    # Restored in float16, before its DEQUANTIZE, the rows that GATHER read were garbage: some, and not in every run.
    keras.utils.set_random_seed(0)
    entries, inputs = 200, keras.Input((1,), dtype="int32")
    features = keras.layers.Flatten()(keras.layers.Embedding(entries, 32)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(64)(features))
    random = np.random.default_rng(0)
    model.set_weights([weight * (random.random(weight.shape) < 0.1) for weight in model.get_weights()])
    content = tflite.convert_dense(model, tmp_path, precision="float16")
    (made,) = encoding.encode_weights(content, precision="float16").values()
    graph = flatbuffers.read(made).subgraphs[0]
    stored = {tuple(tensor.shape): tensor.type for tensor in graph.tensors if tensor.sparsity is not None}
    assert stored == {(200, 32): schema.TensorType.FLOAT32, (64, 32): schema.TensorType.FLOAT16}
    samples = np.arange(entries, dtype=np.int32)[:, None]
    dense, sparse = tmp_path / "dense.tflite", tmp_path / "sparse.tflite"
    dense.write_bytes(content)
    sparse.write_bytes(made)
    expected = read(dense, {"input": samples})
    for way, answers in read(sparse, {"input": samples}).items():
        np.testing.assert_array_equal(answers["output"], expected[way]["output"], err_msg=way)
    exact = model(samples).numpy()
    np.testing.assert_allclose(expected["default"]["output"], exact, atol=2e-3 * np.abs(exact).max())


def test_blocks_of_a_weight_that_dynamic_range_leaves_in_float32(tmp_path):
    """The converter quantizes no weight of less than 1,024 values: in blocks of 16, LiteRT ran no float32 one."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(96, "relu"), keras.layers.Dense(7)])
    random = np.random.default_rng(0)
    for layer in model.layers:
        whole = np.repeat(random.random((layer.kernel.shape[0] // 16, layer.kernel.shape[1])) < 0.2, 16, axis=0)
        layer.kernel.assign(layer.kernel * whole)
    dense, sparse = tmp_path / "dense.tflite", tmp_path / "sparse.tflite"
    dense.write_bytes(tflite.convert_dense(model, tmp_path, precision="dynamic"))
    made = encoding.encode_weights(dense.read_bytes(), precision="dynamic")["1x16"]
    sparse.write_bytes(made)
    sizes = {tuple(tensor.shape): tensor.sparsity for tensor in flatbuffers.read(made).subgraphs[0].tensors}
    assert [sizes[shape].dimMetadata[2].denseSize for shape in ((96, 64), (7, 96))] == [16, 4]
    samples = random.normal(size=(40, 64)).astype("float32")
    expected = read(dense, {"input": samples})
    for way, answers in read(sparse, {"input": samples}).items():
        largest = np.abs(expected[way]["output"]).max()
        np.testing.assert_allclose(answers["output"], expected[way]["output"], atol=0.02 * largest, err_msg=way)


def sparse_shapes(content):
    tensors = flatbuffers.read(content).subgraphs[0].tensors
    return sorted(tuple(tensor.shape) for tensor in tensors if tensor.sparsity is not None)


def test_only_layers_that_make_the_file_smaller_are_stored_sparse(tmp_path):
    """A few small int8 layers, as convolutions, cost more than they saved: the whole file was refused for them."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), *(keras.layers.Dense(40, "relu") for _ in range(5))])
    random = np.random.default_rng(0)
    for layer in model.layers:
        layer.kernel.assign(layer.kernel * (random.random(layer.kernel.shape) < 0.08))
    samples = random.random((20, 64)).astype("float32")
    saved_model.save(model, tmp_path / "source", batch=1)
    dense = run_converter.convert(str(tmp_path / "source"), precision="int8", calibration={"input": samples})
    made = encoding.encode_weights(dense, precision="int8")["rows"]
    tree = flatbuffers.read(dense)
    everything = {(0, place): 1 for place, *_ in encoding.weight_arrays(tree, tree.subgraphs[0])}
    all_rows = encoding._encode(dense, everything, "int8")
    assert len(sparse_shapes(all_rows)) == 5
    assert sparse_shapes(made) == [(40, 1, 1, 64)]  # the first; those of 40 x 40 stay
    assert len(made) < len(dense) < len(all_rows)


def test_a_layer_that_saves_nothing_refuses_no_file(tmp_path):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    model.layers[0].kernel.assign(np.eye(8))
    dense = tflite.convert_dense(model, tmp_path)
    assert encoding.encode_weights(dense, precision="float32") == {}


def stated_runtime(content):
    model = flatbuffers.read(content)
    (entry,) = [entry for entry in model.metadata if entry.name == b"min_runtime_version"]
    return bytes(model.buffers[entry.buffer].data)


def test_the_oldest_runtime_is_that_of_the_operators_that_were_added(tmp_path):
    """A file with DENSIFY said that runtime 1.5.0 runs it, as its dense twin does."""
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    model.layers[0].kernel.assign(np.eye(64))
    contents = {
        precision: tflite.convert_dense(model, tmp_path, precision=precision) for precision in ("float32", "dynamic")
    }
    stated = {
        (precision, layout): stated_runtime(made)
        for precision, content in contents.items()
        for layout, made in encoding.encode_weights(content, precision=precision).items()
    }
    assert stated_runtime(contents["float32"]) == b"1.5.0".ljust(16, b"\0")
    assert stated["float32", "rows"] == b"2.2.0".ljust(16, b"\0")  # DENSIFY
    assert stated["float32", "1x4"] == b"2.3.0".ljust(16, b"\0")  # version 8 of FULLY_CONNECTED
    # Weights quantized by channel need a newer one than either, which is not lowered.
    assert stated["dynamic", "rows"] == stated_runtime(contents["dynamic"]) == b"2.17.0".ljust(16, b"\0")
