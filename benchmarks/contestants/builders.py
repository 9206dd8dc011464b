"""Makes contestants of each kind: framework, clients, Python frameworks, and programs on the JVM."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contestants.contestant import Contestant
from benchmarks.environments import Unavailable, installed_version, pinned_version, python_of
from benchmarks.traffic import OUT_OF_ORDER

__all__ = ["client", "jvm", "ours", "peer"]


def ours(
    name: str,
    description: str,
    *,
    plugin: str = "keycount",
    store: str = "sqlite",
    codec: str = "msgpack",
    every: str = "1s",
    field: str | None = None,
    window: Mapping[str, str] | None = None,
    sums: bool = False,
    speedups: bool = True,
    scales: Sequence[int] = (1,),
) -> Contestant:
    """`framework run` with these settings. `field` is the option of the plugin sumbykey, `window` those of window."""
    settings = {"store": store, "codec": codec, "checkpoint-interval": every}
    plugin_options = {"field": field} if field is not None else dict(window or {})
    if window is not None:
        settings["out-of-order"] = f"{OUT_OF_ORDER}ms"
    sums = sums or field is not None
    return Contestant(
        name=name,
        description=description,
        settings=lambda: " ".join(
            [f"--{name} {value}" for name, value in settings.items()]
            + [f"--option {name}={value}" for name, value in plugin_options.items()]
        ),
        version=lambda: f"{installed_version('framework')}, {'with' if speedups else 'without'} speedups",
        command=lambda: [sys.executable, "-m", "benchmarks.ours"],
        durable=store != "memory",
        sums=sums,
        options={
            "plugin": plugin,
            "settings": settings,
            "plugin_options": plugin_options,
            "sums": sums,
            "speedups": speedups,
        },
        scales=scales,
    )


def client(
    name: str, module: str, package: str, description: str, settings: str, *, peer: str | None = None, **options: Any
) -> Contestant:
    """A program on a client library, in the environment of this process, or of a peer."""
    return Contestant(
        name=name,
        description=description,
        settings=lambda: settings,
        durable=module == "seed",
        sums="amounts" in options,
        version=lambda: f"{package} {pinned_version(peer, package) if peer else installed_version(package)}",
        command=lambda: [str(python_of(peer)) if peer else sys.executable, "-m", f"benchmarks.peers.{module}"],
        options=options,
    )


def peer(
    name: str,
    peer: str,
    package: str,
    description: str,
    settings: str,
    *,
    durable: bool = True,
    at_most: int | None = None,
    python: str | None = None,
    **options: Any,
) -> Contestant:
    """A Python framework, in an environment of its own."""
    return Contestant(
        name=name,
        description=description,
        settings=lambda: settings,
        durable=durable,
        sums="amounts" in options,
        version=lambda: f"{package} {pinned_version(peer, package)}",
        command=lambda: [str(python_of(peer, python)), "-m", f"benchmarks.peers.{peer}"],
        options=options,
        at_most=at_most,
    )


def jvm(name: str, peer: str, description: str, *, at_most: int | None = None, **options: Any) -> Contestant:
    """A program on the JVM, which its own module builds."""

    def module() -> Any:
        return importlib.import_module(f"benchmarks.peers.{peer}")

    def command() -> Sequence[str]:
        try:
            built: Sequence[str] = module().command(options)
        except (OSError, RuntimeError) as error:
            raise Unavailable(str(error)) from error
        return built

    return Contestant(
        name=name,
        description=description,
        settings=lambda: str(module().settings(options)),
        sums="amounts" in options,
        version=lambda: str(module().version()),
        command=command,
        options=options,
        scales=(10,),
        at_most=at_most,
    )
