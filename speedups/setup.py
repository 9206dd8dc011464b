"""The extension; all else is in pyproject.toml."""

from setuptools import Extension, setup

native = Extension(
    "framework_speedups._native",
    ["framework_speedups/_native.c"],
    depends=["framework_speedups/_crc32c.h"],
    extra_compile_args=["-O3", "-Wall", "-Wextra"],
    py_limited_api=True,
)
setup(ext_modules=[native], options={"bdist_wheel": {"py_limited_api": "cp311"}})
