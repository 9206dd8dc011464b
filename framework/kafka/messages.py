"""aiokafka's log messages, in the words and at the levels that suit who runs a worker."""

import logging
from typing import Final, NamedTuple

__all__ = ["KafkaMessages"]


class _Words(NamedTuple):
    """A message in other words; `{}` stands for the arguments of the original, one after another."""

    level: int
    text: str


_INSTEAD: Final = {
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
    }
)
_STARTING: Final = "GroupCoordinatorNotAvailableError"
"""The error of a new broker's first group. aiokafka asks again at once, so it is told only if it goes on."""
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


def _rewrite(record: logging.LogRecord) -> None:
    words = _INSTEAD.get(record.msg)
    arguments = record.args if isinstance(record.args, tuple) else ()
    if words is not None and len(arguments) == words.text.count("{}"):
        record.msg, record.args = words.text.format(*arguments), ()
        record.levelno, record.levelname = words.level, logging.getLevelName(words.level)
