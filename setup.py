"""The compiled extension, which setup.cfg cannot describe."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Optional: without a C compiler the package still installs, and numpy and torch do the work of the kernels.
        Extension(
            "feedline.pipeline._kernels",
            ["pipeline/_kernels.c", "pipeline/_resize.c"],
            depends=["pipeline/_kernels.h"],
            extra_compile_args=["-O3", "-ffp-contract=off"],
            optional=True,
        ),
        Extension(
            "feedline.model._kernels",
            ["model/_kernels.c", "model/_winograd.c"],
            depends=["model/_kernels.h"],
            extra_compile_args=["-O3"],
            optional=True,
        ),
    ]
)
