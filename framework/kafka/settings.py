"""Settings of the Kafka clients: which there are, what each may be, and which of them go together.

Messages never repeat a value that may be a secret.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from framework._closest import closest, closest_or_all

__all__ = [
    "SESSION_TIMEOUT_MS",
    "SETTINGS",
    "SettingError",
    "check_servers",
    "check_setting",
    "check_together",
]

SESSION_TIMEOUT_MS: Final = 10_000
"""Of a run, unless `session_timeout_ms` says otherwise."""

_LARGEST: Final = 2**31 - 1
"""Kafka's protocol sends these numbers in four bytes."""
_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_PASSWORD_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")


class SettingError(Exception):
    """A setting that cannot be used; `name` is that of the setting at fault."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class _Number:
    least: int

    def __call__(self, name: str, value: Any) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if type(number) is not int:
            raise SettingError(name, f"{name} must be a whole number of {self.least} or more")
        if not self.least <= number <= _LARGEST:
            raise SettingError(name, f"{name} is {number}; it must be a whole number from {self.least} to {_LARGEST}")
        return number


@dataclass(frozen=True, slots=True)
class _OneOf:
    allowed: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> str:
        if value in self.allowed:
            return str(value)
        same = [each for each in self.allowed if each.lower() == str(value).lower().replace("_", "-")]
        hint = f" (did you mean {same[0]}?)" if same else closest(str(value), self.allowed)
        raise SettingError(name, f"{name} is {value!r}{hint}; it must be one of {', '.join(self.allowed)}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingError(name, f"{name} must be a text, not a {type(value).__name__}")
    if not value:
        raise SettingError(name, f"{name} is empty; give it a value, or leave it out")
    return value


def _mechanism(name: str, value: Any) -> str:
    mechanism = _OneOf((*_PASSWORD_MECHANISMS, "GSSAPI"))(name, value)
    if mechanism == "GSSAPI" and importlib.util.find_spec("gssapi") is None:
        raise SettingError(name, f"{name}=GSSAPI needs the package gssapi, which is not installed: pip install gssapi")
    return mechanism


def _compression(name: str, value: Any) -> str | None:
    from aiokafka import codec  # only here: it takes long to import

    chosen = _OneOf(_COMPRESSIONS)(name, value)
    if chosen == "none":
        return None
    if not getattr(codec, f"has_{chosen}")():
        raise SettingError(
            name, f"{name}={chosen} needs a library that is not installed: pip install 'aiokafka[{chosen}]'"
        )
    return chosen


SETTINGS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "client_id": _text,
    "compression_type": _compression,
    "connections_max_idle_ms": _Number(1),
    "fetch_max_bytes": _Number(1),
    "fetch_max_wait_ms": _Number(0),
    "fetch_min_bytes": _Number(1),
    "heartbeat_interval_ms": _Number(1),
    "linger_ms": _Number(0),
    "max_batch_size": _Number(1),
    "max_partition_fetch_bytes": _Number(1),
    "max_poll_interval_ms": _Number(1),
    "max_request_size": _Number(1),
    "metadata_max_age_ms": _Number(1),
    "rebalance_timeout_ms": _Number(1),
    "request_timeout_ms": _Number(1),
    "retry_backoff_ms": _Number(0),
    "sasl_kerberos_domain_name": _text,
    "sasl_kerberos_service_name": _text,
    "sasl_mechanism": _mechanism,
    "sasl_plain_password": _text,
    "sasl_plain_username": _text,
    "security_protocol": _OneOf(_PROTOCOLS),
    "session_timeout_ms": _Number(1),
    "ssl_cafile": _text,
    "ssl_capath": _text,
    "ssl_certfile": _text,
    "ssl_keyfile": _text,
    "ssl_password": _text,
}
"""Each setting's name, and what checks its value."""


def check_setting(name: str, value: Any) -> tuple[str, Any]:
    """The setting's name as aiokafka writes it, and its value with the right type. Raises `SettingError`."""
    setting = name.replace("-", "_").replace(".", "_")
    if setting not in SETTINGS:
        known = closest_or_all(setting, SETTINGS)
        raise SettingError(setting, f"unknown Kafka setting {name}{known}")
    return setting, SETTINGS[setting](setting, value)


def check_together(settings: Mapping[str, Any]) -> None:
    """Check settings that need, or contradict, one another. Raises `SettingError`."""
    _check_security(settings, settings.get("security_protocol", "PLAINTEXT"))
    session = settings.get("session_timeout_ms", SESSION_TIMEOUT_MS)
    heartbeat = settings.get("heartbeat_interval_ms", 0)
    if heartbeat >= session:
        raise SettingError(
            "heartbeat_interval_ms",
            f"heartbeat_interval_ms is {heartbeat}; it must be less than session_timeout_ms, which is {session}, "
            "and best a third of it",
        )
    most, least = settings.get("fetch_max_bytes", _LARGEST), settings.get("fetch_min_bytes", 0)
    if least > most:
        raise SettingError(
            "fetch_min_bytes", f"fetch_min_bytes is {least}; it must not exceed fetch_max_bytes, which is {most}"
        )


def _check_security(settings: Mapping[str, Any], protocol: str) -> None:
    for prefix, meant in (("SASL", "sasl_"), ("SSL", "ssl_")):
        given = [name for name in settings if name.startswith(meant)]
        if given and prefix not in protocol:
            fitting = " or ".join(each for each in _PROTOCOLS if prefix in each)
            raise SettingError(
                given[0], f"{given[0]} has no effect with security_protocol {protocol}; set security_protocol={fitting}"
            )
    if protocol.startswith("SASL") and settings.get("sasl_mechanism", "PLAIN") in _PASSWORD_MECHANISMS:
        for name in ("sasl_plain_username", "sasl_plain_password"):
            if name not in settings:
                mechanism = settings.get("sasl_mechanism", "PLAIN")
                raise SettingError(
                    "security_protocol",
                    f"security_protocol={protocol} with sasl_mechanism={mechanism} needs {name}, which is missing",
                )
    if "ssl_keyfile" in settings and "ssl_certfile" not in settings:
        raise SettingError("ssl_keyfile", "ssl_keyfile needs ssl_certfile, the certificate of that key")


_SERVER: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.%\w]+\]|[^\s:/\[\]]+)(?::(?P<port>[^\s:/]*))?")
_PORT: Final = re.compile("[0-9]{1,5}")


def check_servers(text: str) -> str:
    """Servers as `HOST:PORT`, separated by commas; the port is 9092 where it is left out. Raises `SettingError`."""
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        _check_server(server)
    return ",".join(servers)


def _check_server(server: str) -> None:
    if not server:
        _refuse_server("a server is empty")
    if "@" in server:
        _refuse_server(
            "a server has a user name or a password in front of the host; give them as --kafka sasl_plain_username and "
            "sasl_plain_password"
        )
    scheme, separator, rest = server.partition("://")
    if separator:
        protocol = scheme.upper()
        extra = f" and --kafka security_protocol={protocol}" if protocol in _PROTOCOLS[1:] else ""
        _refuse_server(f"{server!r} has {scheme}:// in front of the host; write {rest.rstrip('/')}{extra}")
    found = _SERVER.fullmatch(server)
    if found is None:
        _refuse_server(f"{server!r} is not HOST:PORT")
    port = found["port"]
    if port is not None and not (_PORT.fullmatch(port) and 1 <= int(port) <= 65_535):
        _refuse_server(f"the port of {server!r} is not a number from 1 to 65535")


def _refuse_server(problem: str) -> NoReturn:
    raise SettingError("bootstrap_servers", f"{problem}; servers are written HOST:PORT, separated by commas")
