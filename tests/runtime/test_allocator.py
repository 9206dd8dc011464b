"""The settings of the allocator."""

import ctypes
import platform
import subprocess
import sys
from typing import Any

import pytest

from framework.runtime.allocator import keep_freed_memory

IS_SET = "from framework.runtime.allocator import keep_freed_memory; print(keep_freed_memory())"


def test_memory_is_kept_where_the_c_library_is_glibc() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IS_SET], env={}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_the_users_own_settings_stand(name: str) -> None:
    assert not keep_freed_memory({name: "1"})


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_is_left_alone(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Any) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not keep_freed_memory({})
