"""The C extensions. Other settings are in pyproject.toml."""

from setuptools import Extension, setup

extensions = [
    Extension(
        f"framework_speedups.{name}",
        [f"framework_speedups/{name}.c"],
        depends=["framework_speedups/_crc32c.h"],
        extra_compile_args=["-O3", "-Wall", "-Wextra"],
        py_limited_api=True,
    )
    for name in ("_native", "_records", "_table")
]
setup(ext_modules=extensions, options={"bdist_wheel": {"py_limited_api": "cp311"}})
