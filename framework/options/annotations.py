"""What the annotation of an option allows."""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

__all__ = ["annotations_of", "fields_of", "is_list", "is_secret", "kinds", "table_of"]

_LISTS: Final = frozenset((list, tuple, set, frozenset, Collection, Sequence, Set))


def fields_of(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The options of a model, by the names that the user writes."""
    return {_alias(field) or name: field for name, field in model.model_fields.items()}


def kinds(annotation: Any) -> list[Any]:
    """The types of which a value may be, except None: the parts of a union, each without what annotates it."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    if _is_union(annotation):
        return [kind for each in get_args(annotation) if each is not type(None) for kind in kinds(each)]
    return [annotation]


def annotations_of(field: FieldInfo) -> Iterator[Any]:
    """What annotates the type of a field, or a part of its union, such as `Ge(ge=1)`."""
    yield from field.metadata
    for part in get_args(field.annotation) if _is_union(field.annotation) else ():
        if get_origin(part) is Annotated:
            for each in part.__metadata__:
                yield from each.metadata if isinstance(each, FieldInfo) else (each,)


def is_list(annotation: Any) -> bool:
    """Whether a value can only be a list, a tuple, a set or the like."""
    return all((get_origin(kind) or kind) in _LISTS for kind in kinds(annotation))


def is_secret(annotation: Any) -> bool:
    return any(kind in (SecretStr, SecretBytes) for kind in kinds(annotation))


def table_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a nested table; None for other values, and where there are several models to choose from."""
    match kinds(annotation):
        case [type() as kind] if issubclass(kind, BaseModel):
            return kind
    return None


def _alias(field: FieldInfo) -> str | None:
    return field.validation_alias if isinstance(field.validation_alias, str) else field.alias


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)
