"""A question to one server, which raises why it failed; aiokafka's clients only log that.

A failure that lasts (a wrong password, an untrusted certificate, TLS on one side alone) is a `BrokerError` that names
the setting to change, so that nobody tries again in vain. Where the failure does not show its cause, the server is
asked which protocol it uses.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    SaslAuthenticationFailed,
)
from aiokafka.protocol.admin import SaslHandShakeRequest

from framework.errors import BrokerError

__all__ = ["Server", "ask"]

T = TypeVar("T")

_CONNECTION_SETTINGS: Final = ("client_id", "ssl_context", "security_protocol")
_DETECTION_MS: Final = 5_000
_NO_MECHANISM: Final = "which"
"""No SASL mechanism has this name, so a server that is asked for it answers with those that it enables."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def ask(
    server: Server,
    client: Mapping[str, Any],
    question: Callable[[AIOKafkaConnection], Awaitable[T]],
    patience: float,
) -> T:
    """Connect to a server, ask, and close.

    `client`: keyword arguments of aiokafka's admin client; `patience`: seconds for each step. Raises `BrokerError`
    where another attempt would fail in the same way; else aiokafka's `KafkaError`, and `OSError`.
    """
    try:
        connection = await _connect(server, client, patience)
        try:
            return await question(connection)
        finally:
            await connection.close()
    except (KafkaError, OSError) as error:
        problem = await _lasting_problem(server, client, error)
        if problem is None:
            raise
        raise BrokerError(problem) from error


async def _connect(server: Server, client: Mapping[str, Any], patience: float) -> AIOKafkaConnection:
    settings = {name: value for name, value in client.items() if name in _CONNECTION_SETTINGS or "sasl_" in name}
    milliseconds = min(client.get("request_timeout_ms", 40_000), round(patience * 1000))
    return await create_conn(
        server.host, server.port, **{"sasl_mechanism": "PLAIN", **settings, "request_timeout_ms": milliseconds}
    )


async def _lasting_problem(server: Server, client: Mapping[str, Any], error: Exception) -> str | None:
    """What is wrong, and what to change, if another attempt would fail in the same way."""
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return _untrusted(server, cause)
            case ssl.SSLError(reason=str(reason)) if "ALERT" in reason and "CERTIFICATE" in reason:
                return (
                    f"the broker at {server} refused the TLS certificate of this client, or wants one ({reason}); "
                    "set ssl_certfile and ssl_keyfile"
                )
            case SaslAuthenticationFailed() | AuthenticationFailedError():
                told = cause.args[0] if cause.args else "without a reason"
                return (
                    f"the broker at {server} refused the login of user {client.get('sasl_plain_username')} by "
                    f"{_mechanism(client)} ({told}); check sasl_plain_username, sasl_plain_password and sasl_mechanism"
                )
    return await _mismatch(server, client) if _may_be_mismatch(error) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _untrusted(server: Server, error: ssl.SSLCertVerificationError) -> str:
    reason = error.verify_message.rstrip(".")
    if "mismatch" in reason:
        advice = "name the broker in --bootstrap-servers, and in its advertised.listeners, as its certificate does"
    elif "expired" in reason or "not yet valid" in reason:
        advice = "renew the certificate of the broker, or correct the clock of this machine"
    else:
        advice = "set ssl_cafile to the file (PEM) of the authority that signed it"
    return f"the TLS certificate of the broker at {server} is not trusted: {reason}; {advice}"


def _mechanism(client: Mapping[str, Any]) -> str:
    return str(client.get("sasl_mechanism", "PLAIN"))


def _may_be_mismatch(error: Exception) -> bool:
    """Whether somebody was there, and did not go on."""
    return isinstance(
        error, KafkaError | ssl.SSLError | ConnectionResetError | ConnectionAbortedError | BrokenPipeError
    )


async def _mismatch(server: Server, client: Mapping[str, Any]) -> str | None:
    """Where this client and the server use different protocols or mechanisms: which, and the settings that fit."""
    detected = await _detect(server)
    if detected is None:
        return None
    protocol = client.get("security_protocol", "PLAINTEXT")
    enabled = " or ".join(sorted(detected.mechanisms))
    if protocol != detected.protocol:
        hint = f" and sasl_mechanism to {enabled}" if enabled and "SASL" not in protocol else ""
        return (
            f"the broker at {server} uses {detected.protocol}, but security_protocol is {protocol}; "
            f"set security_protocol to {detected.protocol}{hint}"
        )
    if detected.mechanisms and _mechanism(client) not in detected.mechanisms:
        return (
            f"the broker at {server} does not enable the SASL mechanism {_mechanism(client)}; "
            f"set sasl_mechanism to {enabled}"
        )
    return None


@dataclass(frozen=True, slots=True)
class _Detected:
    """What a server speaks."""

    tls: bool
    mechanisms: frozenset[str]

    @property
    def protocol(self) -> str:
        return {
            (False, False): "PLAINTEXT",
            (True, False): "SSL",
            (False, True): "SASL_PLAINTEXT",
            (True, True): "SASL_SSL",
        }[self.tls, bool(self.mechanisms)]


async def _detect(server: Server) -> _Detected | None:
    """Ask a server in both ways; None where neither is understood."""
    for tls in (False, True):
        try:
            return _Detected(tls, await _enabled_mechanisms(server, tls=tls))
        except (KafkaError, OSError) as error:
            if any(isinstance(each, ssl.SSLError) and "ALERT" in str(each.reason) for each in _causes(error)):
                return _Detected(True, frozenset())  # it speaks TLS, and wants a certificate of the client
    return None


async def _enabled_mechanisms(server: Server, *, tls: bool) -> frozenset[str]:
    """The SASL mechanisms that a server enables; none where it does not use SASL. No secret is sent."""
    connection = await create_conn(
        server.host,
        server.port,
        security_protocol="SSL" if tls else "PLAINTEXT",
        ssl_context=_unverified() if tls else None,
        request_timeout_ms=_DETECTION_MS,
    )
    try:
        response = await connection.send(SaslHandShakeRequest(_NO_MECHANISM))
    except IncompatibleBrokerVersion:  # the embedded broker
        return frozenset()
    finally:
        await connection.close()
    return frozenset(response.enabled_mechanisms)


def _unverified() -> ssl.SSLContext:
    """TLS with whoever is there: it is only asked what it speaks."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
