"""Quick frozen dataclasses behave like the standard ones."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, field, replace
from typing import Any

import pytest

from mcpsec.frozen import dataclass as quick

BODY: dict[str, Any] = {
    "__annotations__": {"a": "int", "b": "str", "c": "list[int]", "d": "int"},
    "__module__": __name__,
    "__doc__": "A value.",
}


def both(**options: bool) -> list[Any]:
    made = []
    for decorate in (dataclasses.dataclass, quick):
        body = BODY | {"b": "x", "c": field(default_factory=list, compare=False), "d": field(default=4, repr=False)}
        kind: Any = type("Value", (), body)
        made.append(decorate(frozen=True, slots=True, **options)(kind))
    return made


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}), ((1,), {}), ((), {"a": 1}), ((1, "y", [2], 3), {}), ((1,), {"a": 2}), ((1, 2, 3, 4, 5), {}),
    ((), {"a": 1, "z": 2}), ((), {"a": 1, "c": [1]}), ((1,), {"d": 9}),
]  # fmt: skip


@pytest.mark.parametrize("kw_only", [False, True])
@pytest.mark.parametrize(("args", "given"), CALLS)
def test_values_are_made_alike(args: tuple[Any, ...], given: dict[str, Any], kw_only: bool) -> None:
    standard, ours = both(kw_only=kw_only)
    try:
        expected = standard(*args, **given)
    except TypeError:
        with pytest.raises(TypeError, match="Value"):
            ours(*args, **given)
        return
    made = ours(*args, **given)
    assert repr(made) == repr(expected)
    assert dataclasses.asdict(made) == dataclasses.asdict(expected)
    assert hash(made) == hash(expected)
    assert made == ours(*args, **given) and made != replace(made, a=-1) and made != expected
    assert replace(made, c=[7]) == made, "a field that is not compared"
    assert not hasattr(made, "__dict__")
    for value in (made, expected):
        with pytest.raises(FrozenInstanceError):
            value.a = 2
        with pytest.raises(FrozenInstanceError):
            del value.a


@pytest.mark.parametrize("kw_only", [False, True])
def test_parameters_can_be_asked_for(kw_only: bool) -> None:
    standard, ours = (inspect.signature(kind).parameters for kind in both(kw_only=kw_only))
    assert list(standard) == list(ours)
    for name, parameter in standard.items():
        assert ours[name].kind == parameter.kind and ours[name].annotation == parameter.annotation
        assert ours[name].default == parameter.default or name == "c", "a factory is shown as itself"


def test_factories_make_a_new_one_each_time() -> None:
    ours = both()[1]
    assert ours(1).c is not ours(1).c


@quick(frozen=True, slots=True)
class Base:
    """Fields come from here."""

    one: int

    def __post_init__(self) -> None:
        if self.one < 0:
            raise ValueError("negative")


@quick(frozen=True, slots=True)
class Child(Base):
    """And from here; what a class defines itself is kept."""

    two: int = 2

    def __repr__(self) -> str:
        return "own"

    def __hash__(self) -> int:
        return 5


def test_inheritance_own_methods_and_checks() -> None:
    child = Child(1, 3)
    assert (child.one, child.two, repr(child), hash(child)) == (1, 3, "own", 5)
    assert child != Base(1) and repr(Base(1)) == "Base(one=1)"
    with pytest.raises(ValueError, match="negative"):
        Child(-1)


def test_values_can_be_copied_and_sent_to_another_process() -> None:
    child = Child(1, 3)
    assert copy.deepcopy(child) == child == pickle.loads(pickle.dumps(child))
    assert copy.replace(child, two=4) == Child(1, 4) if hasattr(copy, "replace") else replace(child, two=4).two == 4


def test_other_classes_belong_to_the_standard_decorator() -> None:
    with pytest.raises(TypeError, match="frozen"):
        quick(frozen=True, slots=False)(Base)
