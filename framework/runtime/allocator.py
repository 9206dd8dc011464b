"""Settings for the memory allocator of the C library, so that the memory of a fetch is used again for the next one."""

import ctypes
import os
from collections.abc import Mapping
from typing import Final

__all__ = ["keep_freed_memory"]

_OPTIONS: Final = {-1: 128 * 2**20, -3: 32 * 2**20}
"""Arguments of `mallopt`: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h, in bytes.

By default, glibc gives the memory of a fetch back to the system, which clears each page before the next fetch gets it.
Counting by key is about 15 % faster without that (measured with glibc 2.36)."""


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Keep up to 128 MB of freed memory in this process. Returns whether this was set.

    It does nothing if the environment has settings for the allocator, or if the C library is not glibc.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in environment):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    accepted = [mallopt(option, size) == 1 for option, size in _OPTIONS.items()]
    return all(accepted)
