"""A Schema Registry that a test can break: a small HTTP server that speaks the registry's protocol."""

import base64
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

__all__ = ["FakeRegistry"]

_Answer = tuple[int, Any]


class FakeRegistry:
    """A registry on loopback. As a context manager it starts, and stops; it keeps its schemas and its port."""

    def __init__(self) -> None:
        self.schemas: dict[int, Mapping[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        """Method and path of each request so far."""
        self.status: int | None = None
        """Answer everything with this status; None: as a registry does."""
        self.page: bytes | None = None
        """Answer everything with this, as HTML, and `status` or 200."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.user: str | None = None
        """`USER:PASSWORD` that requests must have."""
        self.incompatible = False
        """Refuse to register new schemas."""
        self.tls: ssl.SSLContext | None = None
        """How it speaks TLS; None: it does not. Takes effect when it starts."""
        self.most_at_once = 0
        """The most requests that were under way at the same time."""
        self._at_once = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self._port}"

    def __enter__(self) -> "FakeRegistry":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        registry = self

        class Handler(_Handler):
            owner = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        if self.tls is not None:  # each handshake is made in its request's thread
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request that is under way."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nothing listens on the port meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def add(self, subject: str, schema: Any, kind: str = "AVRO", references: Any = ()) -> int:
        """Register a schema, a text or JSON, and give its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return self._register(subject, {"schema": text, "schemaType": kind, "references": list(references)})

    def answer(self, method: str, path: str, body: Any, authorization: str | None) -> _Answer:
        if self.user is not None:
            expected = "Basic " + base64.b64encode(self.user.encode()).decode()
            if authorization != expected:
                return 401, {"error_code": 40101, "message": "who are you?"}
        if self.status is not None:
            return self.status, {"error_code": self.status, "message": "as the test wants"}
        path = unquote(path.partition("?")[0])
        for wanted, pattern, handle in (
            ("GET", r"/schemas/ids/(\d+)", self._get),
            ("GET", r"/subjects/(.+)/versions/(\d+)", self._get_version),
            ("POST", r"/subjects/(.+)/versions", self._post),
            ("POST", r"/subjects/(.+)", self._look_up),
        ):
            found = re.fullmatch(pattern, path)
            if found and method == wanted:
                return handle(*found.groups(), *([body] if method == "POST" else []))
        return 404, {"error_code": 404, "message": "no such path"}

    def _get(self, schema_id: str) -> _Answer:
        schema = self.schemas.get(int(schema_id))
        return (404, {"error_code": 40403, "message": "Schema not found"}) if schema is None else (200, schema)

    def _get_version(self, subject: str, version: str) -> _Answer:
        versions = self.subjects.get(subject, [])
        if not 0 < int(version) <= len(versions):
            return 404, {"error_code": 40402, "message": "Version not found"}
        return 200, self._told(subject, versions[int(version) - 1])

    def _post(self, subject: str, body: Any) -> _Answer:
        if self.incompatible and self._find(subject, body) is None:
            return 409, {"error_code": 409, "message": "READER_FIELD_MISSING_DEFAULT_VALUE: amount"}
        return 200, {"id": self._register(subject, body)}

    def _look_up(self, subject: str, body: Any) -> _Answer:
        if subject not in self.subjects:
            return 404, {"error_code": 40401, "message": "Subject not found"}
        schema_id = self._find(subject, body)
        if schema_id is None:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, self._told(subject, schema_id)

    def _told(self, subject: str, schema_id: int) -> Mapping[str, Any]:
        version = self.subjects[subject].index(schema_id) + 1
        return {"subject": subject, "version": version, "id": schema_id, **self.schemas[schema_id]}

    def _find(self, subject: str, body: Any) -> int | None:
        return next((each for each in self.subjects.get(subject, []) if self.schemas[each] == _kept(body)), None)

    def _register(self, subject: str, body: Any) -> int:
        schema_id = next((each for each, schema in self.schemas.items() if schema == _kept(body)), None)
        if schema_id is None:
            schema_id = len(self.schemas) + 1
            self.schemas[schema_id] = _kept(body)
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id


def _kept(body: Any) -> Mapping[str, Any]:
    """What a registry keeps, and gives, of a schema; it does not name the type of Avro schemas."""
    kept = {"schema": body["schema"]}
    if body.get("schemaType", "AVRO") != "AVRO":
        kept["schemaType"] = body["schemaType"]
    if body.get("references"):
        kept["references"] = body["references"]
    return kept


class _Handler(BaseHTTPRequestHandler):
    owner: FakeRegistry

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, *_: Any) -> None:
        """Prints nothing."""

    def _answer(self, body: Any) -> None:
        owner = self.owner
        with owner.counted():
            owner.requests.append(f"{self.command} {self.path}")
            time.sleep(owner.delay)
            if owner.page is not None:
                self._send(owner.status or 200, "text/html", owner.page)
                return
            status, answer = owner.answer(self.command, self.path, body, self.headers.get("Authorization"))
            self._send(status, "application/vnd.schemaregistry.v1+json", json.dumps(answer).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
