"""Apicurio Registry from Maven Central: a Schema Registry that others wrote, run on the JDK with its data in memory."""

import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from framework.testing.brokers.jars import java_version

__all__ = ["APICURIO_VERSION", "apicurio_missing", "fetch_apicurio", "running_apicurio"]

APICURIO_VERSION: Final = "2.6.13.Final"
"""The last line that runs on Java 17."""

_OLDEST_JAVA: Final = 17
_ARTIFACT: Final = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
_CACHE: Final = Path(__file__).parents[2] / ".cache" / "apicurio"
_START_SECONDS: Final = 120.0
_JAVA_OPTIONS: Final = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # starts fast on few cores


def apicurio_missing() -> str | None:
    """Why the registry cannot be had; None if it can."""
    version = java_version()
    if version is None or version < _OLDEST_JAVA:
        return f"no Java {_OLDEST_JAVA} or newer"
    if not _directory().is_dir() and shutil.which("mvn") is None:
        return f"no files in {_directory()}, and no mvn on the PATH to fetch them"
    return None


def fetch_apicurio() -> Path:
    """The folder with the registry; fetches it with Maven the first time. Raises RuntimeError with Maven's words."""
    target = _directory()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as work:
        command = ["mvn", "--batch-mode", "--quiet", _COPY, f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={work}"]
        maven = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if maven.returncode != 0:
            raise RuntimeError(f"Maven could not fetch {_ARTIFACT}:\n{maven.stdout}{maven.stderr}")
        files = Path(work, "files")
        with tarfile.open(next(Path(work).glob("*.tar.gz"))) as archive:
            archive.extractall(files, filter="data")
        try:
            files.rename(target)
        except OSError:
            if not target.is_dir():  # else another run has fetched it meanwhile
                raise
    return target


@contextmanager
def running_apicurio(directory: Path) -> Iterator[str]:
    """Run the registry, with its log in `directory`; gives the URL of its API that is compatible with Confluent's."""
    jar = next(fetch_apicurio().glob("*-runner.jar"))
    port, log = _free_port(), directory / "apicurio.log"
    settings = ("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}")
    java = shutil.which("java", path=f"{home}/bin" if (home := os.environ.get("JAVA_HOME")) else None) or "java"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [java, *_JAVA_OPTIONS, *settings, "-jar", str(jar)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        _wait_until_it_answers(url, process, log)
        yield url
    finally:
        process.kill()  # it has nothing to keep
        process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/subjects", timeout=5):  # noqa: S310 - on loopback
                return
        except OSError:
            time.sleep(0.2)
    tail = log.read_text(errors="replace").splitlines()[-30:]
    raise RuntimeError("\n".join([f"Apicurio Registry {APICURIO_VERSION} did not start; its log ends with:", *tail]))


def _directory() -> Path:
    return Path(os.environ.get("FRAMEWORK_TEST_APICURIO") or _CACHE / APICURIO_VERSION).absolute()


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        port: int = candidate.getsockname()[1]
        return port
