"""What setup.cfg cannot say: the compiled part."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Optional: without a C compiler the package installs all the same, and numpy and torch do this part's work.
        Extension(
            "feedline.pipeline._kernels",
            ["pipeline/_kernels.c"],
            extra_compile_args=["-O3", "-ffp-contract=off"],
            optional=True,
        )
    ]
)
