"""A TCP proxy that cuts a connection to PostgreSQL at a COMMIT: before it passes on the request, or the answer."""

import socket
import threading
from contextlib import suppress
from typing import Final, Self

__all__ = ["CuttingProxy"]

_BYTES: Final = 65_536
_COMMIT: Final = b"COMMIT\0"  # unlike READ COMMITTED
_SECONDS: Final = 60.0


class CuttingProxy:
    """Listens on loopback at `port`, and passes all on to `target`, another port there."""

    def __init__(self, target: int, *, at_request: bool) -> None:
        """`at_request`: whether the COMMIT is lost; else the answer to it."""
        self._target = target
        self._at_request = at_request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut_at_commit = False
        """Set it to cut the next connection that commits."""
        self._cut = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def wait_until_cut(self) -> None:
        """Wait until a connection was cut, and the server has answered."""
        assert self._cut.wait(_SECONDS)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                committing = threading.Event()
                for run in (self._requests, self._answers):
                    threading.Thread(target=run, args=(client, server, committing), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(_BYTES):
                if self.cut_at_commit and _COMMIT in data:
                    self.cut_at_commit = False
                    if self._at_request:
                        _close(client, server)
                        self._cut.set()
                        return
                    committing.set()
                server.sendall(data)
        _close(client, server)

    def _answers(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(_BYTES):
                if committing.is_set():
                    _close(client, server)
                    self._cut.set()
                    return
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
