"""A Schema Registry, asked through Confluent's client."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, Schema, SchemaReference

from framework import UsageError
from framework_schemaregistry.options import RegistryOptions
from framework_schemaregistry.verdicts import AbsentError, reason_to_wait
from framework_schemaregistry.waiting import Patience, Waiting

__all__ = ["Registry", "StoredSchema"]

T = TypeVar("T")

_MOST_REQUESTS: Final = 4
"""At a time. Damaged records may name thousands of schemas that do not exist."""


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """A schema of the registry."""

    kind: str
    """AVRO, PROTOBUF or JSON."""
    text: str
    references: Mapping[str, str]
    """The schemas that it refers to, directly or not, by name; each one stands after those that it refers to."""


class Registry:
    """Gets and registers schemas. Every request waits until the registry answers; see `Waiting`.

    All requests raise `UsageError` if the registry does not let us in or refuses the request, and `AbsentError` if it
    does not have what is asked for.
    """

    def __init__(self, options: RegistryOptions, patience: Patience) -> None:
        """Sends nothing yet. Raises `UsageError` for options that cannot be used."""
        self.url = options.url
        self._waiting = Waiting(options.url, patience)
        self._places = asyncio.Semaphore(_MOST_REQUESTS)
        try:
            self._client = AsyncSchemaRegistryClient(_client_options(options, patience))
        except (OSError, ValueError) as error:  # of files with certificates; ssl.SSLError is an OSError
            files = [file for file in (options.ca_file, options.cert_file, options.key_file) if file]
            raise UsageError(
                f"the Schema Registry {self.url} cannot be used with {', '.join(files) or 'these options'}: {error}; "
                "check the options ca_file, cert_file and key_file"
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, schema_id: int, fmt: str | None) -> StoredSchema:
        """The schema with this id, and all schemas that it refers to.

        `fmt` is a name that the registry may know for a form of schemas, such as `serialized`; if not, it ignores it.
        """
        what, who = f"the schema {schema_id}", "the partitions that need it wait"
        schema = await self._ask(what, who, partial(self._schema, schema_id, fmt))
        references: dict[str, str] = {}
        await self._collect(schema, fmt, references, who, set())
        return StoredSchema(str(schema.schema_type), str(schema.schema_str), references)

    async def register(self, subject: str, kind: str, text: str) -> int:
        """The id of a schema, which is registered if the subject does not have it."""
        what = f"an id for the schema of the subject {subject}"
        return await self._ask(what, _RUN_WAITS, partial(self._register, subject, Schema(text, kind)))

    async def look_up(self, subject: str, kind: str, text: str) -> int:
        """The id of a schema that the subject has."""
        what = f"the id of the schema of the subject {subject}"
        return await self._ask(what, _RUN_WAITS, partial(self._look_up, subject, Schema(text, kind)))

    async def _ask(self, what: str, who: str, send: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._places:
            return await self._waiting.ask(what, who, send, lambda error: reason_to_wait(error, what, self.url))

    async def _collect(
        self, schema: Schema, fmt: str | None, found: dict[str, str], who: str, seen: set[tuple[Any, Any]]
    ) -> None:
        for reference in schema.references or ():
            place = reference.subject, reference.version
            if place in seen:
                continue
            seen.add(place)
            what = f"version {reference.version} of the subject {reference.subject}, which a schema refers to"
            try:
                inner = await self._ask(what, who, partial(self._referred, reference, fmt))
            except AbsentError as error:
                raise AbsentError(f"{error}, for {what}") from error
            await self._collect(inner, fmt, found, who, seen)
            found[str(reference.name)] = str(inner.schema_str)

    async def _schema(self, schema_id: int, fmt: str | None) -> Schema:
        return _checked(await self._client.get_schema(schema_id, fmt=fmt))

    async def _referred(self, reference: SchemaReference, fmt: str | None) -> Schema:
        found = await self._client.get_version(str(reference.subject), int(reference.version or 0), fmt=fmt)
        return _checked(found.schema)

    async def _register(self, subject: str, schema: Schema) -> int:
        return _checked_id(await self._client.register_schema(subject, schema))

    async def _look_up(self, subject: str, schema: Schema) -> int:
        return _checked_id((await self._client.lookup_schema(subject, schema)).schema_id)


_RUN_WAITS: Final = "the run waits"


def _client_options(options: RegistryOptions, patience: Patience) -> dict[str, Any]:
    given = {
        "url": options.url,
        "basic.auth.user.info": options.credentials(),
        "ssl.ca.location": options.ca_file,
        "ssl.certificate.location": options.cert_file,
        "ssl.key.location": options.key_file,
        "timeout": patience.request,
        "max.retries": 0,  # `Waiting` asks again, and says so
    }
    return {name: value for name, value in given.items() if value is not None}


def _checked(schema: Schema) -> Schema:
    if not isinstance(schema.schema_str, str) or not isinstance(schema.schema_type, str):
        raise TypeError("its answer has no schema")
    return schema


def _checked_id(schema_id: Any) -> int:
    if type(schema_id) is not int:
        raise TypeError("its answer has no id")
    return schema_id
