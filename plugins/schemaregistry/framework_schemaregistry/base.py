"""What all formats of this package share: they get the schemas that a column needs, and register their own."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from framework import UsageError
from framework.formats import Format, Part
from framework_schemaregistry.framing import HEAD_SIZE, head_of, is_head, problem_of, schema_id_of
from framework_schemaregistry.options import RegistryOptions
from framework_schemaregistry.own import OwnSchema
from framework_schemaregistry.registry import Registry, StoredSchema
from framework_schemaregistry.verdicts import AbsentError
from framework_schemaregistry.waiting import Patience

__all__ = ["Decode", "RegistryFormat"]

Decode = Callable[[bytes], Any]
"""Decodes a whole value, framing included. Raises `ValueError`."""


class RegistryFormat(Format):
    """Values framed with the id of a schema that a registry has."""

    Options: ClassVar = RegistryOptions
    kind: ClassVar[str]
    """What the registry calls schemas of this format."""
    fmt: ClassVar[str | None] = None
    """The form in which the registry should give schemas, if it can; None: as they were registered."""
    patience: ClassVar[Patience] = Patience()

    def __init__(self, options: RegistryOptions, part: Part, topic: str | None = None) -> None:
        super().__init__(options, part, topic)
        self._check_purpose(options)
        self._registry = Registry(options, self.patience)
        self._decoders: dict[bytes, Decode] = {}  # by the first bytes of a value
        self._getting: dict[bytes, asyncio.Task[None]] = {}
        self._own = None if topic is None else self._read_own(str(options.schema_file))
        self._head = b""  # in front of each value that is written; empty until `open`

    @abstractmethod
    def _decoder(self, schema: StoredSchema) -> Decode:
        """The function that decodes values of a schema. Raises any exception for a schema that cannot be used."""

    @abstractmethod
    def _read_own(self, file: str) -> OwnSchema:
        """The schema of the values that are written. Raises `UsageError` for a file that cannot be used."""

    # Reading

    def missing(self, column: Sequence[bytes | None]) -> Awaitable[None] | None:
        heads = {data[:HEAD_SIZE] for data in column if data}
        if heads <= self._decoders.keys():
            return None
        unknown = [head for head in heads if head not in self._decoders and is_head(head)]
        return self._get(unknown) if unknown else None

    def read(self, data: bytes) -> Any:
        head = data[:HEAD_SIZE]
        decode = self._decoders.get(head)
        if decode is not None:
            return decode(data)
        if is_head(head):
            raise ValueError(f"the schema {schema_id_of(head)} was not got from the Schema Registry")
        raise ValueError(problem_of(data, self.part))

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        decoders = self._decoders
        return [None if data is None else decoders[data[:HEAD_SIZE]](data) for data in column]

    async def _get(self, heads: Sequence[bytes]) -> None:
        """Get schemas. Those who ask for the same one share the request, and none of them can cancel it."""
        await asyncio.gather(*[asyncio.shield(self._request(head)) for head in heads])

    def _request(self, head: bytes) -> "asyncio.Task[None]":
        task = self._getting.get(head)
        if task is None:
            task = self._getting[head] = asyncio.ensure_future(self._get_one(head))
            task.add_done_callback(lambda task: self._end_request(head, task))
        return task

    def _end_request(self, head: bytes, task: "asyncio.Task[None]") -> None:
        del self._getting[head]
        if not task.cancelled():
            task.exception()  # those who wait get it; nobody may be left, as when a partition has gone

    async def _get_one(self, head: bytes) -> None:
        if head in self._decoders:
            return
        try:
            schema = await self._got(schema_id_of(head))
        except AbsentError as error:
            self._decoders[head] = _refusing(self._registry.url, "does not have it", str(error))
        else:
            self._decoders[head] = self._usable(schema)

    async def _got(self, schema_id: int) -> StoredSchema:
        try:
            return await self._registry.get(schema_id, self.fmt)
        except AbsentError:
            await asyncio.sleep(self.patience.absence)
            return await self._registry.get(schema_id, self.fmt)

    def _usable(self, schema: StoredSchema) -> Decode:
        if schema.kind != self.kind:
            name = {"AVRO": "sr-avro", "JSON": "sr-json", "PROTOBUF": "sr-protobuf"}.get(schema.kind)
            return _refusing(self._registry.url, f"has it as {schema.kind}", name and f"read it in the format {name}")
        try:
            return self._decoder(schema)
        except Exception as error:  # whatever the parser of schemas raises for what somebody registered
            return _refusing(self._registry.url, "has one that cannot be used", f"{type(error).__name__}: {error}")

    # Writing

    async def open(self) -> None:
        """Get the id of the schema of outputs. Raises `UsageError` if the registry refuses."""
        if self._own is None:
            return
        subject = self._subject(self._own)
        if self.options.auto_register:
            schema_id = await self._registry.register(subject, self.kind, self._own.text)
        else:
            try:
                schema_id = await self._registry.look_up(subject, self.kind, self._own.text)
            except AbsentError as error:
                raise UsageError(
                    f"the Schema Registry {self._registry.url} does not have the schema {self.options.schema_file} as "
                    f"the subject {subject}: {error}; register it, or set auto_register=true"
                ) from error
        self._head = head_of(schema_id)
        self._decoders[self._head] = self._usable(StoredSchema(self.kind, self._own.text, {}))

    async def close(self) -> None:
        for task in [*self._getting.values()]:
            task.cancel()
        await asyncio.gather(*self._getting.values(), return_exceptions=True)
        await self._registry.close()

    def write(self, value: Any) -> bytes:
        if self._own is None or not self._head:
            raise NotImplementedError
        return self._own.encode(self._head, value)

    def _subject(self, own: OwnSchema) -> str:
        strategy = self.options.subject_strategy
        if strategy == "topic":
            return f"{self.topic}-{self.part}"
        if own.record is None:
            raise UsageError(
                f"the schema {self.options.schema_file} has no name, which subject_strategy={strategy} needs; give it "
                "one, or set subject_strategy=topic"
            )
        return own.record if strategy == "record" else f"{self.topic}-{own.record}"

    def _check_purpose(self, options: RegistryOptions) -> None:
        if self.topic is not None and options.schema_file is None:
            raise UsageError(f"the format {self.name} of outputs needs schema_file=FILE, the schema of the values")
        if self.topic is None and options.schema_file is not None:
            raise UsageError(
                f"the format {self.name} uses schema_file for outputs only; to read values in a schema of your own, "
                "sr-avro has reader_schema"
            )
        if options.reader_schema is not None and self.kind != "AVRO":
            raise UsageError(f"the format {self.name} has no use for reader_schema, only sr-avro has")
        if options.message is not None and self.kind != "PROTOBUF":
            raise UsageError(f"the format {self.name} has no use for message, only sr-protobuf has")
        if options.decimals and self.kind != "JSON":
            raise UsageError(f"the format {self.name} has no use for decimals, only sr-json has")


def _refusing(url: str, what: str, reason: str | None) -> Decode:
    """Decodes nothing of a schema that cannot be used: each of its values is a bad record."""

    def refuse(data: bytes) -> Any:
        why = f" ({reason})" if reason else ""
        raise ValueError(f"schema {schema_id_of(data)}: the Schema Registry {url} {what}{why}")

    return refuse
