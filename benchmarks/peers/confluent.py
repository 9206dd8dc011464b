"""confluent-kafka's consume with large batches, and a dict. The option `consumer` has further settings."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from benchmarks.protocol import read_task, report


def main() -> None:
    """Count all records of the task."""
    task = read_task()
    consumer = Consumer(
        {"bootstrap.servers": task.bootstrap_servers, "group.id": task.group, "enable.auto.commit": False}
        | task.options["consumer"]
    )
    consumer.list_topics(task.topic, timeout=task.seconds)  # connects
    consumer.assign([TopicPartition(task.topic, number, OFFSET_BEGINNING) for number in range(task.partitions)])
    counts: dict[str | bytes | None, int] = {}
    first, got = time.time(), 0
    while got < task.records:
        messages = consumer.consume(10_000, timeout=1)
        for message in messages:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            key = message.key()
            counts[key] = counts.get(key, 0) + 1
        got += len(messages)
    last = time.time()
    consumer.close()
    report(sum(counts.values()), len(counts), first, last)


if __name__ == "__main__":
    main()
