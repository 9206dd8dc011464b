"""The header of a unit in a store with `keeps_rows`, and its changes by claims and checkpoints. No I/O."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from framework.stores import Checkpoint, StoredUnit, Unit
from framework.stores.encoding import checksum, field_values, from_json, to_json
from framework.stores.rules import check_base, saved_unit
from framework.stores.series import Series

__all__ = ["Header", "Row"]

Row = tuple[str, int, int, bytes]
"""Table, base, number, body."""


@dataclass(frozen=True, slots=True)
class Header:
    """A stored unit, with the series of each of its tables."""

    id: int
    stored: StoredUnit
    series: Mapping[str, Series] = field(default_factory=dict)

    def columns(self) -> tuple[Any, ...]:
        """The columns to store: id, group, plugin, topic, partition, epoch, version, other fields as JSON, checksum."""
        unit, document = self.stored.unit, to_json(self.stored)
        document["tables"] = {name: field_values(series) for name, series in self.series.items()}
        values = (
            *(self.id, unit.group, unit.plugin, unit.topic, unit.partition),
            *(self.stored.epoch, self.stored.version, json.dumps(document)),
        )
        return (*values, checksum(values))

    @classmethod
    def from_columns(cls, columns: Sequence[Any]) -> "Header | None":
        """The header with these stored columns; None if they are damaged."""
        *values, found = columns
        if found != checksum(values):
            return None
        number, group, plugin, topic, partition, epoch, version, text = values
        try:
            document = json.loads(text)
            series = {name: Series(**fields) for name, fields in document["tables"].items()}
            unit = Unit(group, plugin, topic, partition)
            return cls(number, from_json(document, unit, epoch, version, _tables(series)), series)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def row_checksum(self, table: str, base: int, number: int, body: Any) -> int | None:
        """The checksum of a row; None if `body` is not bytes. It leaves out the group, which `set_aside` changes."""
        if not isinstance(body, bytes):
            return None
        unit = self.stored.unit
        return checksum((self.id, unit.plugin, unit.topic, unit.partition, table, base, number), body)

    def claimed(self) -> "Header":
        """The header after a claim by the next owner."""
        series = {name: each.without_new_base() for name, each in self.series.items()}
        return replace(self, stored=replace(self.stored, epoch=self.stored.epoch + 1), series=series)

    def saved(self, checkpoint: Checkpoint) -> "Header":
        """The header after `checkpoint`. Raises `InternalError` for pieces of a base that has not begun."""
        series = dict(self.series)
        for name, changes in checkpoint.tables.items():
            before = series.get(name, Series())
            check_base(checkpoint.unit, changes, begun=before.base_has_begun)
            series[name] = before.saved(changes)
        return replace(self, stored=saved_unit(self.stored, checkpoint, _tables(series)), series=series)

    def rows_of(self, checkpoint: Checkpoint) -> list[Row]:
        """The rows that `checkpoint` adds."""
        return [
            (name, *row)
            for name, changes in checkpoint.tables.items()
            for row in self.series.get(name, Series()).rows_of(changes)
        ]

    def swept(self, table: str, rows: int) -> "Header":
        """The header after `rows` outdated rows of `table` were deleted."""
        return replace(self, series={**self.series, table: self.series[table].swept(rows)})

    def renamed(self, unit: Unit) -> "Header":
        """The same header for another unit."""
        return replace(self, stored=replace(self.stored, unit=unit))


def _tables(series: Mapping[str, Series]) -> dict[str, Any]:
    return {name: each.stored for name, each in series.items()}
