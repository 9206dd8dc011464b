"""Messages to stderr: for a person, or one JSON object a line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from framework.borders import describe
from framework.kafka.messages import KafkaMessages

__all__ = ["configure"]

_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(format: Literal["text", "json"] = "text", *, debug: bool = False) -> None:  # noqa: A002 - its name in --log-format
    """Send log messages to stderr: those of framework from INFO on, of others from WARNING on; all with `debug`."""
    handler = _StderrHandler()
    handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter(tracebacks=debug))
    if not debug:
        handler.addFilter(KafkaMessages())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("framework").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.INFO if debug else logging.WARNING)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time of each message.

    While a progress bar or a status line is drawn, rich replaces `sys.stderr`, so that messages stand above it.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _TextFormatter(logging.Formatter):
    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        text = f"{self.formatTime(record, self.datefmt)} {level} {record.getMessage()}"
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            text += f": {describe(error)}"
            if self._tracebacks:
                text += "\n" + self.formatException(record.exc_info)
        return text


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
        line = {
            **fields,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
