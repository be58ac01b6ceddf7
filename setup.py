"""Build of the compiled layer; everything else is declared in pyproject.toml."""

from pathlib import Path

import numpy
import pysam
from Cython.Build import cythonize
from setuptools import Extension, setup

KERNELS = sorted(str(path) for path in Path("pileupcnn/kernels").glob("*.pyx"))

extensions = [
    Extension(
        source.removesuffix(".pyx").replace("/", "."),
        [source],
        language="c++",
        # htslib's symbols come from the library that pysam has loaded
        # (kernels/__init__.py), so nothing is linked here.
        include_dirs=[*pysam.get_include(), numpy.get_include(), "pileupcnn/kernels"],
        define_macros=[*pysam.get_defines(), ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O3", "-g0", "-std=c++17"],
    )
    for source in KERNELS
]

setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    )
)
