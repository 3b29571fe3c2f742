"""The sizes of a convolution, or of the windows of a pooling."""

from dataclasses import dataclass
from numbers import Integral


@dataclass(frozen=True)
class ConvShape:
    """The sizes of a convolution.

    Attributes:
        kernel_size: Height and width of the kernel.
        strides: Down and across.
        padding: "same" or "valid", as Keras means it.
        input_size: Height and width of the inputs.
        inputs: The channels of the inputs.
        filters: The channels of the outputs.

    Example:
        >>> ConvShape((3, 3), (2, 2), "same", (32, 32), 16, 32).output_size
        (16, 16)
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    input_size: tuple[int, int]
    inputs: int
    filters: int

    def __post_init__(self) -> None:
        """Raises for sizes that the kernels don't compute."""
        sizes = {name: getattr(self, name) for name in ("kernel_size", "strides", "input_size")}
        for name, size in {**sizes, "inputs": (self.inputs,), "filters": (self.filters,)}.items():
            if not all(isinstance(number, Integral) and int(number) >= 1 for number in size):
                raise ValueError(f"`{name}` of a sparse convolution must be positive integers. Received: {size}.")
        if self.padding not in ("same", "valid"):
            raise ValueError(f'`padding` must be "same" or "valid". Received: {self.padding!r}.')
        if min(self.output_size) < 1:
            raise ValueError(
                f"A kernel of {self.kernel_size} without padding is larger than inputs of {self.input_size}."
            )

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the outputs."""
        return self._along(0)[0], self._along(1)[0]

    @property
    def padding_before(self) -> tuple[int, int]:
        """How many zeros come before the first row and the first column."""
        return self._along(0)[1], self._along(1)[1]

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Of the dense kernel."""
        return (*self.kernel_size, self.inputs, self.filters)

    @property
    def sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The channels that are summed over and those of the sums: forward, and in the gradient of the inputs."""
        return (self.inputs, self.filters), (self.filters, self.inputs)

    def _along(self, axis: int) -> tuple[int, int]:
        size, kernel, stride = self.input_size[axis], self.kernel_size[axis], self.strides[axis]
        if self.padding == "valid":
            return (size - kernel) // stride + 1, 0
        count = -(-size // stride)
        return count, max(0, (count - 1) * stride + kernel - size) // 2
