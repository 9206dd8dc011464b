"""A command on a terminal of its own, as a person has it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = ["Terminal"]

_BECOME = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
_SIZE = struct.pack("HHHH", 50, 120, 0, 0)
_SECONDS = 60.0


class Terminal:
    """Runs `framework` with these arguments. As a context manager, it interrupts it at the end."""

    def __init__(self, args: Sequence[object], cwd: Path) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, _SIZE)
        command = [sys.executable, "-c", _BECOME, sys.executable, "-m", "framework", *map(str, args)]
        self._process = subprocess.Popen(command, cwd=cwd, stdin=slave)
        os.close(slave)
        self._file = open(master, "r+b", buffering=0)  # noqa: SIM115 - closed at the exit
        self._seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self.wait()
        finally:
            self._process.kill()
            self._process.wait()
            self._file.close()

    def press(self, key: str) -> None:
        self._file.write(key.encode())

    def wait_for(self, text: str) -> str:
        """What is shown up to this text, without colours and the like, since the last wait."""
        while text not in self._shown():
            if not self._read():
                raise AssertionError(f"it ended without {text!r}:\n{self._seen}")
        shown = self._shown()
        end = shown.index(text) + len(text)
        self._seen = shown[end:]
        return shown[:end]

    def wait(self) -> int:
        """The exit status."""
        while self._read():
            pass
        return self._process.wait(_SECONDS)

    def _shown(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen)

    def _read(self) -> bool:
        """Whether there was anything to read before the end."""
        try:
            read = self._file.read(65536)
        except OSError:  # so Linux tells that nobody has the terminal any more
            return False
        self._seen += (read or b"").decode(errors="replace")
        return bool(read)
