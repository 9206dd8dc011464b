"""Peers written in Java: their jars fetched by Maven coordinates, their one source file compiled by the JDK."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["JAVA_OPTIONS", "java_command"]

# A heap of a fixed size; the JDK's own choice of compiler, and of collector where it has two cores.
JAVA_OPTIONS = ("-Xms2g", "-Xmx2g", "-XX:+UseG1GC")

_CACHE = Path(__file__).parents[2] / ".cache" / "benchmarks"
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
_LOGGING = "org.slf4j:slf4j-simple:1.7.36"  # writes to stderr
_LOG_LEVEL = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def java_command(
    source: Path, coordinates: Sequence[str], options: Sequence[str], arguments: Sequence[str]
) -> list[str]:
    """The command that runs the class in `source`, named like its file, on JAVA_OPTIONS and `options`.

    Fetches the jars of `coordinates` (group:artifact:version) with Maven and compiles the class, unless cached.
    Raises RuntimeError with the tool's output if that fails.
    """
    name = source.parent.name
    pom = _pom([*coordinates, _LOGGING])
    jars = _once(f"{name}-jars", pom.encode(), lambda target: _fetch(pom, target))
    classes = _once(
        f"{name}-classes", pom.encode() + source.read_bytes(), lambda target: _compile(source, jars, target)
    )
    classpath = f"{classes}{os.pathsep}{jars}/*"
    return [_tool("java"), *JAVA_OPTIONS, *options, _LOG_LEVEL, "-cp", classpath, source.stem, *arguments]


def _once(name: str, made_from: bytes, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, which is made again only when its sources have changed."""
    target = _CACHE / f"{name}-{hashlib.sha256(made_from).hexdigest()[:16]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as work:
        made = Path(work, "made")
        make(made)
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # unless another run has made it meanwhile
                raise
    return target


def _pom(coordinates: Sequence[str]) -> str:
    dependencies = ""
    for coordinate in coordinates:
        group, artifact, version = coordinate.split(":")
        dependencies += f"""
    <dependency>
      <groupId>{group}</groupId>
      <artifactId>{artifact}</artifactId>
      <version>{version}</version>
    </dependency>"""
    return f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>peer</artifactId>
  <version>1</version>
  <dependencies>{dependencies}
  </dependencies>
</project>
"""


def _fetch(pom: str, target: Path) -> None:
    file = target.with_name("pom.xml")
    file.write_text(pom)
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    _run([_tool("mvn"), "--batch-mode", "--quiet", "--file", str(file), _COPY_JARS, *options])


def _compile(source: Path, jars: Path, target: Path) -> None:
    _run([_tool("javac"), "-cp", f"{jars}/*", "-d", str(target), str(source)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _tool(name: str) -> str:
    home = os.environ.get("JAVA_HOME")
    found = (shutil.which(name, path=f"{home}/bin") if home else None) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"no {name} on the PATH")
    return found
