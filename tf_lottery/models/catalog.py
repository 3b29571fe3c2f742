"""The named architectures: what they are, for listings and suggestions. Loads no TensorFlow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A named architecture.

    Attributes:
        description: its layers.
        input_shape: (height, width, channels) of the data it was published for; it can be built for others.
        classes: the number of classes of that data.
        weights: kernel weights (maskable by default) at that input and number of classes.
        parameters: all trainable numbers, biases included.
        source: the paper.
    """

    description: str
    input_shape: tuple[int, int, int]
    classes: int
    weights: int
    parameters: int
    source: str


_PAPER = "Frankle & Carbin 2018, arXiv 1803.03635"
_LATE = "Frankle et al. 2019, arXiv 1903.01611"

CATALOG: dict[str, Architecture] = {
    "mlp": Architecture(
        "dense 100, 50, classes; for small images such as digits", (8, 8, 1), 10, 11_900, 12_060, "this project"
    ),
    "fc1": Architecture(
        "LeNet-300-100: dense 300, 100, classes", (28, 28, 1), 10, 266_200, 266_610, f"LeCun et al. 1998; {_PAPER}"
    ),
    "lenet5": Architecture(
        "two 3x3 convolutions of 64 filters, max pool, dense 256, 256, classes",
        (28, 28, 1),
        10,
        3_316_800,
        3_317_450,
        "a reproduction report of the lottery ticket hypothesis",
    ),
    "conv2": Architecture(
        "3x3 convolutions 64, 64, pool; dense 256, 256, classes", (32, 32, 3), 10, 4_300_992, 4_301_642, _PAPER
    ),
    "conv4": Architecture(
        "3x3 convolutions 64, 64, pool, 128, 128, pool; dense 256, 256, classes",
        (32, 32, 3),
        10,
        2_425_024,
        2_425_930,
        _PAPER,
    ),
    "conv6": Architecture(
        "3x3 convolutions 64, 64, pool, 128, 128, pool, 256, 256, pool; dense 256, 256, classes",
        (32, 32, 3),
        10,
        2_261_184,
        2_262_602,
        _PAPER,
    ),
    "resnet8": Architecture(
        "3x3 convolutions 16; 16, 16; 32, 32; 64, 64, with shortcuts (1x1 convolutions where the image is halved) and "
        "batch norm; average pool, dense classes",
        (32, 32, 3),
        10,
        77_360,
        78_042,
        "this project: ResNet-20 with one block a stage",
    ),
    "resnet20": Architecture(
        "3x3 convolutions 16; 3 x (16, 16); 3 x (32, 32); 3 x (64, 64), with shortcuts (1x1 convolutions where the "
        "image is halved) and batch norm; average pool, dense classes",
        (32, 32, 3),
        10,
        270_896,
        272_474,
        f"He et al. 2015, arXiv 1512.03385; {_PAPER}; {_LATE}",
    ),
    "vgg16": Architecture(
        "3x3 convolutions with batch norm 64, 64, pool, 128, 128, pool, 3 x 256, pool, 3 x 512, pool, 3 x 512; average "
        "pool, dense classes",
        (32, 32, 3),
        10,
        14_715_584,
        14_724_042,
        f"Simonyan & Zisserman 2014, arXiv 1409.1556; {_PAPER}; {_LATE}",
    ),
    "mobilenet": Architecture(
        "3x3 convolution 16 of stride 2; depthwise 3x3 and 1x1 convolutions 32; 64, 64; 128, 128, 256, with batch "
        "norm, laid out for XNNPACK's sparse kernels; average pool, dense classes",
        (32, 32, 3),
        10,
        70_880,
        73_130,
        "Howard et al. 2017, arXiv 1704.04861, at half width, for small images",
    ),
}
"""Architectures by name. The paper's table gives Conv-6 1.7 M weights, which fits 2,048 features into its first dense
layer; the layers that it lists, with padding that keeps the size, make 4,096 and 2.26 M. Conv-2 and Conv-4 agree. The
papers' 274K parameters of ResNet-20 count the moving statistics of batch normalization, 1,568 numbers."""
