"""confluent-kafka's consume with large batches, and a dict. The option `consumer` has further settings.

With the option `amounts`, values are parsed, and the dict has the sum of each key.
"""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from benchmarks.peers.loads import loads
from benchmarks.protocol import read_task, report


def count(messages: list[Message], counts: dict[Any, Any]) -> None:
    """Add the number of records of each key."""
    for message in messages:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        key = message.key()
        counts[key] = counts.get(key, 0) + 1


def adding_up(amounts: str) -> Callable[[list[Message], dict[Any, Any]], None]:
    """The function that adds the amounts of each key, with values parsed in this way."""
    parse = loads(amounts)

    def add_up(messages: list[Message], sums: dict[Any, Any]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            key = message.key()
            sums[key] = sums.get(key, 0) + parse(message.value())["amount"]

    return add_up


def main() -> None:
    """Count all records of the task, or sum their amounts."""
    task = read_task()
    consumer = Consumer(
        {"bootstrap.servers": task.bootstrap_servers, "group.id": task.group, "enable.auto.commit": False}
        | task.options["consumer"]
    )
    consumer.list_topics(task.topic, timeout=task.seconds)  # connects
    consumer.assign([TopicPartition(task.topic, number, OFFSET_BEGINNING) for number in range(task.partitions)])
    amounts: str | None = task.options.get("amounts")
    tally = count if amounts is None else adding_up(amounts)
    tallies: dict[Any, Any] = {}
    first, got = time.time(), 0
    while got < task.records:
        messages = consumer.consume(10_000, timeout=1)
        tally(messages, tallies)
        got += len(messages)
    last = time.time()
    consumer.close()
    total = sum(tallies.values())
    if amounts is None:
        report(total, len(tallies), first, last)
    else:
        report(got, len(tallies), first, last, total=total)


if __name__ == "__main__":
    main()
