"""The conformance kit for processors: a pytest class to subclass. It needs hypothesis."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.errors import UsageError
from framework.plugins import check_processor_class
from framework.processor import Processor
from framework.records import Record
from framework.table import Table
from framework.testing.case import Case
from framework.testing.comparison import compare_states
from framework.testing.conformance import PROMISE, RULES
from framework.testing.hash_seeds import NotCheckedError
from framework.testing.strategies import records_of

__all__ = ["ProcessorConformance"]

_any_records = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class ProcessorConformance:
    """Checks a processor against the contract of `framework.Processor`. Subclass it, in a module of tests::

        class TestMedian(ProcessorConformance):
            processor = Median
            options = {"field": "amount"}
            records = [("a", {"amount": 3}), ("b", {"amount": 1}), ("a", {})]

    The records are as for `run_processor`. Some should be records that the processor refuses.
    """

    processor: ClassVar[type[Processor]]
    records: ClassVar[Sequence[Record | tuple[Any, Any]]]
    options: ClassVar[Mapping[str, Any]] = {}
    until: ClassVar[int | None] = None
    """As for `run_processor`, like the two that follow."""
    out_of_order: ClassVar[int | None] = None
    idle: ClassVar[Mapping[int, int] | None] = None
    old_states: ClassVar[Mapping[int, tuple[Mapping[Any, Any], Mapping[Any, Any]]]] = {}
    """A state of each older `state_version`, and that state after `migrate`. Keep them for as long as you migrate."""
    makes_up_records: ClassVar[bool] = True
    """Whether the processor is also checked with records that its formats could give; false for formats whose values
    cannot be made up."""

    @pytest.fixture
    def case(self) -> Case:
        return Case(
            self.processor,
            self.records,
            self.options,
            until=self.until,
            out_of_order=self.out_of_order,
            idle=self.idle,
        )

    def test_the_class_keeps_the_contract(self) -> None:
        check_processor_class(self.processor)

    @pytest.mark.parametrize("rule", RULES)
    def test_rule(self, rule: str, case: Case) -> None:
        try:
            RULES[rule](case)
        except NotCheckedError as reason:
            pytest.skip(str(reason))

    def test_old_states_are_migrated(self) -> None:
        versions = range(1, self.processor.state_version)
        assert sorted(self.old_states) == [*versions], "keep a state of each older version in `old_states`"
        for version, (before, after) in self.old_states.items():
            table: Table[Any, Any] = Table(dict(before))
            self.processor.migrate(table, version)
            compare_states(f"migrate from version {version}", dict(table), "`old_states` has", after)

    @_any_records
    @given(data=st.data())
    def test_made_up_records(self, data: st.DataObject) -> None:
        """The rules of the promise hold for any records that the formats give."""
        if not self.makes_up_records:
            pytest.skip("makes_up_records is false")
        case = Case(
            self.processor,
            data.draw(records_of(self.processor, self.options)),
            self.options,
            until=self.until,
            out_of_order=self.out_of_order,
        )
        for rule in PROMISE.values():
            try:
                rule(case)
            except UsageError:
                return  # the processor refuses all of them, as it may
