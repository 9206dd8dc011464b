"""What an answer of a registry, or the lack of one, means: wait, there is no such schema, or the run must end."""

import ssl
from collections.abc import Iterator
from typing import Final

from confluent_kafka.schema_registry import SchemaRegistryError

from framework import UsageError

__all__ = ["AbsentError", "reason_to_wait"]

_ABSENT_CODES: Final = frozenset({40401, 40402, 40403})
"""There is no such subject, version, or schema. A 404 without such a code comes from something before the registry."""
_REFUSALS: Final = frozenset({400, 405, 406, 409, 410, 413, 415, 422})
"""Statuses that say that the request is wrong; it would be so again."""
_HTTP_LIBRARIES: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_LONGEST: Final = 300


class AbsentError(Exception):
    """The registry answers that it does not have this."""


def reason_to_wait(error: Exception, what: str, registry: str) -> str:
    """The reason to ask again after a request for `what` failed.

    Raises `AbsentError` if the registry says that there is no such thing, and `UsageError` if it does not let us in,
    refuses the request for good, or is no registry.
    """
    if isinstance(error, SchemaRegistryError):
        return _reason_of_status(error, what, registry)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UsageError(
                f"the certificate of the Schema Registry {registry} is not trusted: {cause.verify_message}; check the "
                "option ca_file"
            ) from error
    if isinstance(error, ValueError):  # of JSON, or of its encoding; perhaps a page of HTML
        return f"its answer is not JSON ({_told(error)}); check the option url"
    if isinstance(error, OSError) or _is_of_http(error):
        return _told(error)
    raise UsageError(
        f"what answers at {registry} to the request for {what} is not a Schema Registry ({_told(error)}); check the "
        "option url, and that confluent-kafka is up to date"
    ) from error


def _reason_of_status(error: SchemaRegistryError, what: str, registry: str) -> str:
    status = error.http_status_code
    said = f"HTTP {status}"
    if error.error_code not in (None, -1):  # else it is not a registry's answer, but perhaps a page of HTML
        said += f", {_shortened(str(error.error_message))}"
    if status in (401, 403):
        raise UsageError(
            f"the Schema Registry {registry} refuses access to {what}: {said}; check the options user and password, or "
            "cert_file"
        ) from error
    if error.error_code in _ABSENT_CODES:
        raise AbsentError(said) from error
    if status == 409:
        raise UsageError(
            f"the Schema Registry {registry} refuses {what}, as it is not compatible with earlier versions: {said}; "
            "change the schema, or the compatibility level of the subject"
        ) from error
    if status in _REFUSALS:
        raise UsageError(f"the Schema Registry {registry} refuses the request for {what}: {said}") from error
    return said if status >= 408 else f"{said}, which is not an answer of a Schema Registry; check the option url"


def _is_of_http(error: Exception) -> bool:
    """Whether the HTTP library of Confluent's client raised it, which has had several names."""
    return any(cls.__module__.partition(".")[0] in _HTTP_LIBRARIES for cls in type(error).__mro__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _told(error: Exception) -> str:
    return _shortened(f"{type(error).__name__}: {error}".removesuffix(": "))


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
