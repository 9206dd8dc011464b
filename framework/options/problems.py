"""What is wrong with an option, in words for a user. They leave out the value, which may be a secret."""

from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails

__all__ = ["told"]

_WHOLE: Final = "it must be a whole number"
_NUMBER: Final = "it must be a number"
_DECIMAL: Final = "it must be a decimal number, such as 1.50"
_BOOL: Final = "it must be true or false"
_TEXT: Final = "it must be a text"
_LIST: Final = 'it must be a list, such as a,b or ["a", "b"]'
_TABLE: Final = 'it must be a table, such as {{"name": "value"}}'
_BYTES: Final = "it must be a number of bytes, or a size with its unit, such as 64MB or 16MiB"
_DATE: Final = "it must be a date, such as 2024-05-31"
_TIME: Final = "it must be a time of day, such as 12:30:00"
_MOMENT: Final = "it must be a date and a time, such as 2024-05-31T12:30:00Z"
_SPAN: Final = "it must be a duration in ISO 8601, such as PT5M"
_UUID: Final = "it must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"
_URL: Final = "it must be a URL, such as https://example.com"
_ONE_OF: Final = "it must be {expected}"
_ERROR: Final = "{error}"

_WORDS: Final[Mapping[str, str]] = {
    "missing": "it is required",
    "extra_forbidden": "there is no such option",
    "value_error": _ERROR,
    "assertion_error": _ERROR,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "it has too many digits",
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "it must be a finite number",
    "decimal_type": _DECIMAL,
    "decimal_parsing": _DECIMAL,
    "decimal_max_digits": "it must have {max_digits} or fewer digits",
    "decimal_max_places": "it must have {decimal_places} or fewer decimal places",
    "decimal_whole_digits": "it must have {whole_digits} or fewer digits before the decimal point",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be {le} or less",
    "multiple_of": "it must be a multiple of {multiple_of}",
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "byte_size": _BYTES,
    "byte_size_unit": _BYTES,
    "literal_error": _ONE_OF,
    "enum": _ONE_OF,
    "string_type": _TEXT,
    "string_too_short": "it must have {min_length} or more characters",
    "string_too_long": "it must have {max_length} or fewer characters",
    "string_pattern_mismatch": "it must match the pattern {pattern}",
    "bytes_type": _TEXT,
    "bytes_too_short": "it must have {min_length} or more bytes",
    "bytes_too_long": "it must have {max_length} or fewer bytes",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "too_short": "its length must be {min_length} or more",
    "too_long": "its length must be {max_length} or less",
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "dataclass_type": _TABLE,
    "dict_type": _TABLE,
    "mapping_type": _TABLE,
    "union_tag_not_found": "it must have {discriminator}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": "it must be a date without a time, such as 2024-05-31",
    "time_type": _TIME,
    "time_parsing": _TIME,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": "it must have a time zone, as in 2024-05-31T12:30:00Z",
    "timezone_naive": "it must have no time zone, as in 2024-05-31T12:30:00",
    "time_delta_type": _SPAN,
    "time_delta_parsing": _SPAN,
    "uuid_type": _UUID,
    "uuid_parsing": _UUID,
    "url_type": _URL,
    "url_parsing": _URL,
    "url_scheme": "it must be a URL that begins with {expected_schemes}",
    "path_type": "it must be a path",
    "path_not_file": "there is no such file",
    "path_not_directory": "there is no such directory",
}
"""By pydantic's type of the error, with the names of its context."""


def told(problem: ErrorDetails) -> str:
    """The option's name, with dots where it is inside a table or a list, and what is wrong with it."""
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), _words(problem))))


def _words(problem: ErrorDetails) -> str:
    """The words of the table; pydantic's own ones for a type, or a type with a context, that is not in it."""
    try:
        words = _WORDS[problem["type"]].format_map(problem.get("ctx", {}))
    except KeyError:
        words = problem["msg"].replace("Input should be", "it must be").partition(", unable to parse")[0]
    return words or "it cannot be used"
