"""Apache Kafka from its own jars: fetched by Maven coordinates, run on the JDK as a single KRaft node."""

import base64
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

__all__ = ["KAFKA_VERSION", "KafkaJars", "fetch_jars", "jars_missing", "java_version"]

KAFKA_VERSION = "4.1.0"
OLDEST_JAVA = 17

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_JAVA_OPTIONS = ("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # starts fast on few cores
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
_POM = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""

_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    # One broker holds everything, and few groups and transactions at a time.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    # What takes minutes in production happens within a test.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "2000",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "500",
    "log.cleaner.backoff.ms": "100",
    "log.cleaner.min.cleanable.ratio": "0.001",
    "log.cleaner.dedupe.buffer.size": "4194304",
}


def jars_directory() -> Path:
    """Where the jars are, or go: FRAMEWORK_TEST_KAFKA_JARS, or `framework/kafka` in the user's cache directory."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(
        os.environ.get("FRAMEWORK_TEST_KAFKA_JARS") or caches / "framework" / "kafka" / KAFKA_VERSION
    ).absolute()


def java_version() -> int | None:
    """The major version of the Java that brokers run on; None without one."""
    if (java := _java()) is None:
        return None
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
    found = re.search(r'version "(\d+)', printed)
    return int(found[1]) if found else None


def jars_missing() -> str | None:
    """Why a broker cannot be had from Kafka's jars; None if it can."""
    version = java_version()
    if version is None:
        return "no java on the PATH or in JAVA_HOME"
    if version < OLDEST_JAVA:
        return f"Java {version} is older than {OLDEST_JAVA}"
    if not jars_directory().is_dir() and shutil.which("mvn") is None:
        return f"no jars in {jars_directory()}, and no mvn on the PATH to fetch them"
    return None


def fetch_jars() -> Path:
    """The folder with Kafka's jars; fetches them with Maven the first time.

    Raises RuntimeError with Maven's words where it fails.
    """
    target = jars_directory()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as work:
        pom, jars = Path(work, "pom.xml"), Path(work, "jars")
        pom.write_text(_POM)
        options = ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        command = ["mvn", "--batch-mode", "--quiet", "--file", str(pom), _COPY_JARS, *options]
        maven = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if maven.returncode != 0:
            raise RuntimeError(f"Maven could not fetch Kafka {KAFKA_VERSION}:\n{maven.stdout}{maven.stderr}")
        try:
            jars.rename(target)
        except OSError:
            if not target.is_dir():  # else another run has fetched them meanwhile
                raise
    return target


class KafkaJars:
    """A broker of one's own, on loopback, whose data outlives `stop` and `kill` until `close`.

    `directory` takes the data and `broker.log`; `properties` add to, or replace, the broker's properties. `listeners`
    are names of further ones, whose security protocols `properties` tell. As a context manager it starts, and closes.
    """

    def __init__(
        self, directory: Path, properties: Mapping[str, str] | None = None, *, listeners: Sequence[str] = ()
    ) -> None:
        broker, controller, *others = _free_ports(2 + len(listeners))
        self.bootstrap_servers = f"127.0.0.1:{broker}"
        self.listeners = {name: f"127.0.0.1:{port}" for name, port in zip(listeners, others, strict=True)}
        further = "".join(f",{name}://{server}" for name, server in self.listeners.items())
        self.log = directory / "broker.log"
        self._data = directory / "data"
        self._settings = directory / "server.properties"
        self._properties = {
            **_PROPERTIES,
            "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}{further}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(self._data),
            **(properties or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running broker. Raises RuntimeError where none runs."""
        if self._process is None:
            raise RuntimeError("the broker is not running")
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers. Raises RuntimeError with the end of its log where it does not."""
        if self._process is not None:
            raise RuntimeError("the broker is running already")
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        with self.log.open("ab") as log:
            if not self._data.exists():
                self._format(log)
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for the tests; they end the broker
            )
        self._watchdog = _watch(self._process.pid)
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to shut down, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop, and start on the same ports and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it, if it runs, and delete its data; the log stays."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _java(self, *arguments: str) -> list[str]:
        return [_java() or "java", *_JAVA_OPTIONS, "-cp", f"{fetch_jars()}/*", *arguments]

    def _format(self, log: IO[bytes]) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # As an option's value, since an id may begin with a dash.
        arguments = ("format", f"--cluster-id={cluster_id}", "--config", str(self._settings))
        command = self._java("kafka.tools.StorageTool", *arguments)
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode != 0:
            raise self._failure("could not format its storage")

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        admin = AdminClient(
            {"bootstrap.servers": self.bootstrap_servers, "reconnect.backoff.max.ms": 200, "log_level": 0}
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise self._failure(f"ended with status {process.returncode} while starting")
            try:
                if admin.list_topics(timeout=0.5).brokers:
                    return
            except KafkaException:
                continue
        raise self._failure(f"did not answer on {self.bootstrap_servers} within {_START_SECONDS:.0f} s")

    def _failure(self, what: str) -> RuntimeError:
        tail = self.log.read_text(errors="replace").splitlines()[-30:]
        return RuntimeError("\n".join([f"Kafka {KAFKA_VERSION} {what}; its log {self.log} ends with:", *tail]))

    def _end(self, how: signal.Signals) -> None:
        os.kill(self.pid, how)
        process, self._process = self._process, None
        watchdog, self._watchdog = self._watchdog, None
        if process is not None:
            _wait_or_kill(process)
        if watchdog is not None:
            watchdog.kill()
            watchdog.communicate()


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """Kill the process should this one end without doing so: its end of the pipe then closes."""
    script = 'read -r line; kill -KILL "$1"'
    return subprocess.Popen(["/bin/sh", "-c", script, "watchdog", str(pid)], stdin=subprocess.PIPE, process_group=0)


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _free_ports(count: int) -> list[int]:
    """Below those that systems give to clients, one of which could else get a stopped broker's port."""
    ports: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free port between 20000 and 32000")
