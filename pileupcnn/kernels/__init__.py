"""The only compiled code: one algorithm a file, arrays in and out, no GIL.

Importing the package makes the symbols of the htslib that pysam has loaded
visible to the kernels, which are linked against nothing: a link to pysam's
libraries would record the absolute path they had when the wheel was built.
"""

import ctypes
import importlib.metadata

import pysam.libchtslib as _htslib

PYSAM_MINOR = "0.24"
"""The pysam minor release whose record layout the kernels are compiled for."""

_found = importlib.metadata.version("pysam")
if _found.split(".")[:2] != PYSAM_MINOR.split("."):
    raise ImportError(
        f"pileupcnn was built for pysam {PYSAM_MINOR} and found pysam {_found}; "
        f"run: pip install 'pysam=={PYSAM_MINOR}.*'"
    )
ctypes.CDLL(_htslib.__file__, mode=ctypes.RTLD_GLOBAL)
