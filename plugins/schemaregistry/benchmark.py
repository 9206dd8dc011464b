"""Compares sr-avro with Confluent's AvroDeserializer: `python plugins/schemaregistry/benchmark.py`, in the repository.

Both sum a float field of the same records of five fields, in turns, and the median of the turns counts. The registry is
the one of the tests; neither asks it anything while the clock runs.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from framework_schemaregistry import RegistryAvro, RegistryOptions

sys.path.append(str(Path(__file__).parents[2]))  # the repository, which has the registry of the tests

from tests.brokers.fake_registry import FakeRegistry

RECORDS: Final = 20_000
BATCH: Final = 500
TURNS: Final = 9
CONTEXT: Final = SerializationContext("orders", MessageField.VALUE)
SCHEMA: Final = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "currency", "type": "string"},
        {"name": "paid", "type": "boolean"},
    ],
}


def main() -> None:
    """Print the medians, in microseconds per record, and their ratio."""
    with FakeRegistry() as registry, SchemaRegistryClient({"url": registry.url}) as client:
        write = AvroSerializer(client, json.dumps(SCHEMA))
        records = [
            write({"id": n, "customer": f"c{n % 100}", "amount": n * 0.37, "currency": "EUR", "paid": True}, CONTEXT)
            for n in range(RECORDS)
        ]
        asyncio.run(compare(registry.url, client, [each for each in records if each is not None]))


async def compare(url: str, client: SchemaRegistryClient, records: Sequence[bytes]) -> None:
    form, deserialize = RegistryAvro(RegistryOptions(url=url), "value"), AvroDeserializer(client)
    batches = [records[begin : begin + BATCH] for begin in range(0, len(records), BATCH)]
    missing = form.missing(records)
    assert missing is not None  # noqa: S101
    await missing

    def ours() -> float:
        total = 0.0
        for batch in batches:
            assert form.missing(batch) is None  # noqa: S101
            for value in form.read_column(batch):
                total += value["amount"]
        return total

    def confluents() -> float:
        total = 0.0
        for record in records:
            total += deserialize(record, CONTEXT)["amount"]
        return total

    assert ours() == confluents()  # noqa: S101
    own, other = (1e6 * seconds / len(records) for seconds in in_turns(ours, confluents))
    sys.stdout.write(f"sr-avro: {own:.2f} µs a record, AvroDeserializer: {other:.2f} µs, ratio: {other / own:.1f}\n")
    await form.close()


def in_turns(*functions: Callable[[], float]) -> list[float]:
    """The median seconds of each function."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(TURNS):
        for function, taken in zip(functions, seconds, strict=True):
            began = time.perf_counter()
            function()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


if __name__ == "__main__":
    main()
