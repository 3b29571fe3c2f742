"""The compiled kernels of sparse layers. All else about the package is in `setup.cfg`."""

from pathlib import Path

from setuptools import Extension, setup

FOLDER = "tf_lottery/layers/sparse"
# A plain shared library, which `native.py` loads. Without a C++ compiler, or where it fails, there is none.
KERNELS = Extension(
    "tf_lottery.layers.sparse._kernels",
    sources=[f"{FOLDER}/kernels.cpp"],
    depends=[str(path) for path in sorted(Path(FOLDER).glob("*.inc"))],
    extra_compile_args=["-std=c++17", "-O3", "-g0"],
    libraries=["dl", "pthread"],
    language="c++",
    optional=True,
)

setup(ext_modules=[KERNELS])
