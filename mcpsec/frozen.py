"""Frozen dataclasses that are made in a tenth of the time.

The standard decorator compiles six methods for each class: 0.7 ms, and a gateway's start has a hundred such classes.
Here they share theirs, for which constructing a value costs a few microseconds more. So this is for what is made once a
start (a deployment's values, descriptions of keys); what is made for each request keeps the standard decorator.
"""

from __future__ import annotations

import dataclasses
import inspect  # dataclasses has imported it
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["dataclass"]

_MISSING = dataclasses.MISSING


def _made(cls: type | None = None, /, *, frozen: bool, slots: bool, kw_only: bool = False) -> Any:
    """The standard decorator's meaning for ``frozen=True, slots=True``; other classes belong to the standard one."""
    if not frozen or not slots:
        raise TypeError("only frozen classes with slots are made here")
    if cls is None:
        return lambda decorated: _finished(decorated, kw_only=kw_only)
    return _finished(cls, kw_only=kw_only)


class _Signature:
    """``inspect.signature`` of a class, put together when somebody asks."""

    def __get__(self, _value: object, cls: Any) -> inspect.Signature:
        parameter = inspect.Parameter
        told = [
            parameter(
                field.name,
                parameter.KEYWORD_ONLY if field.kw_only else parameter.POSITIONAL_OR_KEYWORD,
                default=_default(field),
                annotation=field.type,
            )
            for field in dataclasses.fields(cls)
            if field.init
        ]
        ordered = sorted(told, key=lambda each: each.kind)
        return inspect.Signature(ordered, return_annotation=None)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not _MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is _MISSING else field.default_factory


def _finished(decorated: type, *, kw_only: bool) -> Any:
    own = set(decorated.__dict__)
    cls: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(decorated)
    fields = dataclasses.fields(cls)
    compared = tuple(field.name for field in fields if field.compare)
    shown = tuple(field.name for field in fields if field.repr)
    names = tuple(field.name for field in fields)

    def values(self: Any) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in compared)

    def equal(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    def text(self: Any) -> str:
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def state(self: Any) -> list[object]:
        return [getattr(self, name) for name in names]

    def restore(self: Any, kept: list[object]) -> None:
        for name, value in zip(names, kept, strict=True):
            object.__setattr__(self, name, value)

    methods = {"__init__": _constructor(cls, fields), "__setattr__": _refuse, "__delattr__": _refuse, "__eq__": equal}
    methods |= {"__hash__": hashed, "__repr__": text, "__getstate__": state, "__setstate__": restore}
    for name, method in methods.items():
        if name not in own or (name == "__hash__" and decorated.__dict__[name] is None):
            setattr(cls, name, method)
    cls.__signature__ = _Signature()
    return cls


def _constructor(cls: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    positional = tuple(field.name for field in fields if field.init and not field.kw_only)
    accepted = frozenset(field.name for field in fields if field.init)
    entries = tuple((field.name, field.default, field.default_factory) for field in fields)
    finish = hasattr(cls, "__post_init__")
    put = object.__setattr__

    def construct(self: Any, *args: Any, **given: Any) -> None:
        if len(args) > len(positional):
            raise TypeError(f"{cls.__qualname__} takes {len(positional)} positional arguments, not {len(args)}")
        for name, value in zip(positional, args, strict=False):
            if name in given:
                raise TypeError(f"{cls.__qualname__} got two values for {name!r}")
            given[name] = value
        if not accepted.issuperset(given):
            raise TypeError(f"{cls.__qualname__} has no {', '.join(sorted(given.keys() - accepted))}")
        for name, default, factory in entries:
            if name in given:
                put(self, name, given[name])
            elif default is not _MISSING:
                put(self, name, default)
            elif factory is not _MISSING:
                put(self, name, factory())
            else:
                raise TypeError(f"{cls.__qualname__} needs {name}")
        if finish:
            self.__post_init__()

    return construct


def _refuse(self: object, name: str, *_value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"{name!r} of a frozen {self.__class__.__qualname__}")


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _made
