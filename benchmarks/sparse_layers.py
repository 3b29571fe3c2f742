"""The time of one convolution by the sparse kernels beside the dense one, by density, in one command.

    python benchmarks/sparse_layers.py                         the layers below, one thread
    python benchmarks/sparse_layers.py --threads 2 --layers "64 64 32 32"

A layer is written as inputs, filters, size of the images and batch, and perhaps a stride; its kernels are 3x3. Measured
are the outputs with the gradients of inputs and kernel: dense as XLA compiles it and as TensorFlow's own kernels
compute it (with oneDNN; set TF_ENABLE_ONEDNN_OPTS=0 for Eigen), sparse in the blocked layout, and sparse with four
layout changes a layer. The sides take turns; what is printed is the fastest time of each, in milliseconds, and ratios
of these to the dense one that is faster.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

LAYERS = ("64 64 32 32", "128 128 16 32", "256 256 8 64")  # ResNet-50's
LAYERS += ("16 16 32 128", "16 32 32 128 2", "32 32 16 128", "64 64 8 128")  # ResNet-20's
LAYERS += ("3 64 32 60", "64 64 32 60", "64 128 16 60", "128 128 16 60", "128 256 8 60", "256 256 8 60")  # Conv-6's
SIDES = ("xla", "graph", "blocked", "changed")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--densities", type=float, nargs="+", default=(0.5, 0.2, 0.1, 0.05))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each side")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where results differ."""
    options = parse(arguments)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from tf_lottery.layers.sparse import kernels, native

    if not kernels():
        raise SystemExit(f"There are no kernels: {kernels().reason}.")
    native.use_threads(options.threads)
    print(f"instruction set {kernels().instruction_set}, threads {options.threads}, load {os.getloadavg()[0]:.1f}")
    print("layer            density  dense: XLA  graph  sparse: blocked  changed  ratios: blocked  changed  differs by")
    rows = [measure(layer, density, options) for layer in options.layers for density in options.densities]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(row["difference"] < 1e-4 for row in rows) else 1


def measure(layer: str, density: float, options: argparse.Namespace) -> dict:
    """Compute one layer by all sides in turn, and print a row."""
    sides = sides_of(layer, density)
    results = {name: [array.numpy() for array in side()] for name, side in sides.items() if name != "blocked"}
    difference = max(
        float(abs(a - b).max() / abs(a).max()) for a, b in zip(results["xla"], results["changed"], strict=True)
    )
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats + 1):  # the first of `blocked` compiles
        for name, side in sides.items():
            begin = time.perf_counter()
            side()[-1].numpy()
            seconds[name].append(time.perf_counter() - begin)
    best = {name: 1e3 * min(times) for name, times in seconds.items()}
    dense = min(best["xla"], best["graph"])
    ratios = [dense / best[name] for name in ("blocked", "changed")]
    print(
        f"{layer:16s} {density:7.0%} {best['xla']:11.1f} {best['graph']:6.1f} {best['blocked']:16.1f} "
        f"{best['changed']:8.1f} {ratios[0]:16.2f} {ratios[1]:8.2f} {difference:11.1e}",
        flush=True,
    )
    return {"layer": layer, "density": density, **best, "difference": difference}


def sides_of(layer: str, density: float) -> dict[str, Callable]:
    """A function without arguments for each side, of outputs and the gradients of inputs and kernel."""
    import numpy as np
    import tensorflow as tf

    from tf_lottery.layers.sparse.blocked import from_lanes, to_lanes
    from tf_lottery.layers.sparse.conv_index import conv_index_of
    from tf_lottery.layers.sparse.sparse_conv import ConvShape, sparse_conv
    from tf_lottery.layers.sparse.sparse_matmul import put_values, take_values

    inputs, filters, size, batch, *rest = map(int, layer.split())
    stride = rest[0] if rest else 1
    shape = ConvShape((3, 3), (stride, stride), "same", (size, size), inputs, filters)
    rng = np.random.default_rng(0)
    mask = rng.random(shape.kernel_shape) < density
    kernel = tf.constant(np.where(mask, rng.normal(size=mask.shape), 0), tf.float32)
    sizes = (batch, size, size, inputs), (batch, *shape.output_size, filters)
    x, dy = (tf.constant(rng.normal(size=one), tf.float32) for one in sizes)
    index = {name: tf.constant(one) for name, one in conv_index_of(mask, int(mask.sum()), shape.strides).items()}

    def dense(x, kernel, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv2d(x, kernel, stride, "SAME")
        of_x, of_kernel = tape.gradient(y, [x, kernel], dy)
        return y, of_x, tf.where(mask, of_kernel, 0)

    def blocked(x, values, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, values])
            y = sparse_conv(x, values, index, shape, batch)
        return y, *tape.gradient(y, [x, values], dy)

    def changed(x, values, dy):
        y, of_x, of_values = blocked(to_lanes(x), values, to_lanes(dy))
        return from_lanes(y, batch), from_lanes(of_x, batch), put_values(tf.zeros_like(kernel), of_values, index)

    compiled = {
        name: tf.function(function, jit_compile=name != "graph", autograph=False)
        for name, function in zip(SIDES, (dense, dense, blocked, changed), strict=True)
    }
    values = tf.function(lambda: take_values(kernel, index), jit_compile=True)()
    x_blocked, dy_blocked = (tf.function(to_lanes, jit_compile=True)(one) for one in (x, dy))
    operands = {"blocked": (x_blocked, values, dy_blocked), "changed": (x, values, dy)}
    return {name: lambda n=name: compiled[n](*operands.get(n, (x, kernel, dy))) for name in SIDES}


if __name__ == "__main__":
    sys.exit(main())
