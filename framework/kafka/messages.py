"""aiokafka's log messages, in the words and at the levels that suit who runs a worker."""

import logging
from typing import Final, NamedTuple

__all__ = ["KafkaMessages"]


class _Words(NamedTuple):
    """A message in other words; `{}` stands for the arguments of the original, one after another."""

    level: int
    text: str


_INSTEAD: Final = {
    # The connection
    'Unable connect to "%s:%s": %s': _Words(logging.WARNING, "the broker at {}:{} cannot be reached: {}"),
    'Unable to request metadata from "%s:%s": %s': _Words(
        logging.WARNING, "the broker at {}:{} did not describe the cluster: {}"
    ),
    "Unable to request metadata from node with id %s: %r": _Words(
        logging.WARNING, "broker {} did not describe the cluster: {}"
    ),
    "Unable to update metadata from %s": _Words(
        logging.WARNING, "none of the brokers {} described the cluster; asking again"
    ),
    "Unable connect to node with id %s: %s": _Words(
        logging.WARNING, "broker {} cannot be reached: {}; looking for the brokers again"
    ),
    "Sending username and password in the clear": _Words(
        logging.WARNING,
        "the password is sent without encryption; if the broker offers TLS, set security_protocol=SASL_SSL",
    ),
    # Topics
    "Topic %s not found in cluster metadata": _Words(logging.WARNING, "there is no topic {} in the cluster"),
    "Topic %s is not authorized for this client": _Words(logging.WARNING, "not authorized to describe topic {}"),
    "Failed fetch messages from %s: %s": _Words(
        logging.WARNING, "reading from broker {} failed: {}; the read is repeated"
    ),
    "Failed fetch offsets from %s: %s": _Words(
        logging.WARNING, "broker {} did not tell the offsets of partitions: {}; asking again"
    ),
    "Got error produce response on topic-partition %s, retrying. Error: %s": _Words(
        logging.WARNING, "sending to partition {} failed: {}; the records are sent again"
    ),
    "Got error produce response: %s": _Words(logging.WARNING, "sending records failed: {}"),
    # The group
    "Heartbeat failed: local member_id was not recognized; resetting and re-joining group": _Words(
        logging.WARNING,
        "the group has thrown this worker out, because it sent no heartbeat for as long as session_timeout_ms says; "
        "it joins again",
    ),
    "Heartbeat failed for group %s: generation id is not  current.": _Words(
        logging.INFO, "group {} was rebalanced without this worker; it joins again"
    ),
    "Heartbeat session expired - marking coordinator dead": _Words(
        logging.WARNING,
        "the group's coordinator has not answered for as long as session_timeout_ms says; looking for it again",
    ),
    "Error sending %s to node %s [%s] -- marking coordinator dead": _Words(
        logging.WARNING, "{} to broker {}, the coordinator, failed: {}; looking for the coordinator"
    ),
    "Group Coordinator Request failed: %s": _Words(
        logging.WARNING, "the coordinator of the group is not known: {}; asking again"
    ),
    "LeaveGroup request failed: %s": _Words(
        logging.WARNING,
        "the group was not told that this worker stops: {}; other workers get its partitions after session_timeout_ms",
    ),
    "Marking the coordinator dead (node %s)for group %s.": _Words(
        logging.INFO, "broker {} does not answer as the coordinator of group {}; looking for the coordinator"
    ),
    "Heartbeat failed for group %s: coordinator (node %s) is either not started or not valid": _Words(
        logging.INFO, "the coordinator of group {} is not broker {} any more; looking for the coordinator"
    ),
    "Heartbeat send request failed: %s. Will retry.": _Words(
        logging.WARNING, "the group's coordinator did not answer a heartbeat, the next one follows: {}"
    ),
}
_HARMLESS: Final = frozenset(
    {
        # Each heartbeat of a rebalance.
        "Heartbeat failed for group %s because it is rebalancing",
        # A commit in a rebalance: the next checkpoint commits again, and no state depends on it.
        "OffsetCommit failed for group %s due to group error (%s), will rejoin",
        # The client raises these, too, and the error that ends the run tells of them.
        "Attempt to join group failed due to fatal error: %s",
        "Unexpected error during InitProducerIdRequest: %s",
    }
)
_STARTING: Final = "GroupCoordinatorNotAvailableError"
"""The error of a new broker's first group. aiokafka asks again at once, so it is told only if it goes on."""
_UNCLOSED: Final = "Unclosed AIOKafkaConnection"
"""asyncio logs this when it closes a connection that nobody uses, as after a rebalance has cancelled a request."""
_REPEAT_SECONDS: Final = 10.0
"""How long a message of aiokafka's is not repeated: for a topic that was deleted it has hundreds a second."""
_REMEMBERED: Final = 1000


class KafkaMessages(logging.Filter):
    """Rewrites aiokafka's messages, and drops those that are harmless or were logged a moment ago.

    A message that is not known here stays as it is. Messages of other loggers pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "asyncio":
            return not str(record.msg).startswith(_UNCLOSED)
        if not record.name.startswith("aiokafka"):
            return True
        if isinstance(record.msg, str):  # of an exception that is logged, it is the exception itself
            if record.msg in _HARMLESS:
                return False
            _rewrite(record)
        try:
            message = record.getMessage()
        except Exception:  # the handler tells of a message and arguments that do not fit; aiokafka must not fail by it
            return True
        said = self._said.get(message)
        if said is not None and record.created < said + _REPEAT_SECONDS:
            return False
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[message] = record.created
        return said is not None or _STARTING not in message


def _explained(argument: object) -> object:
    """An argument of a message; an error, or the class of one, in plain words."""
    from aiokafka.errors import KafkaError  # here, so that a command's help does not import aiokafka

    from framework.kafka.errors import reason

    if isinstance(argument, type) and issubclass(argument, KafkaError):
        argument = argument()
    return reason(argument) if isinstance(argument, BaseException) else argument


def _rewrite(record: logging.LogRecord) -> None:
    words = _INSTEAD.get(record.msg)
    arguments = record.args if isinstance(record.args, tuple) else ()
    if words is not None and len(arguments) == words.text.count("{}"):
        record.msg, record.args = words.text.format(*map(_explained, arguments)), ()
        record.levelno, record.levelname = words.level, logging.getLevelName(words.level)
