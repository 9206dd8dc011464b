"""The error policy."""

import pytest

from framework import UsageError
from framework.policy import ErrorPolicy


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (ErrorPolicy(), "stop"),
        (ErrorPolicy("skip", retries=1), "skip, after 1 retry"),
        (ErrorPolicy("dead-letter", "orders-bad", retries=3), "dead letter to orders-bad, after 3 retries"),
    ],
)
def test_prints_as_the_guarantee_has_it(policy, text):
    assert str(policy) == text


@pytest.mark.parametrize(
    ("on_error", "topic", "message"),
    [
        ("dead-letter", None, "needs a topic"),
        ("dead-letter", "", "needs a topic"),
        ("stop", "orders-bad", "no effect with --on-error stop"),
        ("skip", "orders-bad", "no effect with --on-error skip"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(on_error, topic, message):
    with pytest.raises(UsageError, match=message):
        ErrorPolicy(on_error, topic)


def test_waits_double_up_to_a_minute():
    policy = ErrorPolicy(retries=2000, retry_backoff=0.5)
    assert [policy.wait_after(failures) for failures in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 32, 60]
    assert policy.wait_after(2000) == 60
    assert policy.wait_after(2001) is None


def test_a_backoff_beyond_a_minute_stays_as_it_is():
    policy = ErrorPolicy(retries=3, retry_backoff=90)
    assert [policy.wait_after(failures) for failures in (1, 2, 3, 4)] == [90, 90, 90, None]


def test_without_retries_there_is_no_wait():
    assert ErrorPolicy().wait_after(1) is None
