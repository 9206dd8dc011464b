"""What a class says of itself, or how it fails to."""

import pytest

from framework import PluginError, Processor, UsageError
from framework.runtime.declarations import declared, state_definition


def saying(answer):
    class Sums(Processor):
        api_version = 1

        @classmethod
        def state_definition(cls, options):
            if isinstance(answer, BaseException):
                raise answer
            return answer

    return Sums


def test_a_definition_is_a_text():
    assert state_definition(Processor, None) == ""
    assert state_definition(saying("the sums of a"), None) == "the sums of a"
    with pytest.raises(PluginError, match=r"Sums\.state_definition returned a int; return a str"):
        state_definition(saying(5), None)


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(1), GeneratorExit()])
def test_whatever_a_class_raises_is_the_plugins_fault(error):
    with pytest.raises(PluginError, match=r"Sums\.state_definition failed: .*\(at "):
        state_definition(saying(error), None)


def test_options_that_cannot_be_used_are_the_users_fault():
    with pytest.raises(UsageError, match="no such zone"):
        declared(saying(UsageError("no such zone")), "state_definition", None)
