"""Reads the optional attributes of objects that a caller gives, and refuses unfit objects."""

import inspect
import numbers
from collections.abc import Sequence
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.sanitize import shorten


def declared(value: object, defaults: object, name: str, kind: Any = object) -> Any:
    """The optional attribute of an object; the default for a class that does not have it.

    defaults: an object with the default. Raises InputError when it is of another kind.
    """
    found = getattr(value, name, getattr(defaults, name))
    if not isinstance(found, kind):
        raise InputError(
            f"the attribute {name} of {_shown(value)} is {_shown(found)}; "
            f"it has to be {_shown(getattr(defaults, name))} or the like, of type {kind}"
        )
    return found


def refuse_unfit(value: object, what: str, methods: Sequence[str], hint: str) -> None:
    """Raise InputError unless a value is an object with a name and these methods.

    what: the role that it was given for, such as "planner". methods: as one calls them, such as
        "reply(messages, tools)". hint: another right value.
    """
    needs = f"a {what} has a name and the methods {', '.join(methods)}; {hint}"
    if isinstance(value, type):
        raise InputError(
            f"the {what} is the class {value.__name__}, not an object: give "
            f"{value.__name__}(...); {needs}"
        )
    if not isinstance(getattr(value, "name", None), str):
        raise InputError(f"{_shown(value)} is no {what}, it has no name that is text: {needs}")
    for method in methods:
        name, _, parameters = method.rstrip(")").partition("(")
        function = getattr(value, name, None)
        if not callable(function):
            raise InputError(f"{_shown(value)} is no {what}, it has no method {name}: {needs}")
        if inspect.iscoroutinefunction(function):
            raise InputError(f"{_shown(value)} is no {what}, its {name} is async: {needs}")
        if not _takes(function, parameters.count(",") + 1):
            raise InputError(f"the {name} of {_shown(value)} does not take {parameters}: {needs}")


def refuse_other(value: object, kind: type, what: str, hint: str) -> None:
    """Raise InputError unless a value is of a kind; hint: a right value."""
    if not isinstance(value, kind):
        raise InputError(f"the {what} is {_shown(value)}; give {hint}")


def refuse_unless_above(value: Any, what: str, least: float) -> None:
    """Raise InputError unless a value is a number that is more than `least`."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not float(value) > least:  # NaN fails the comparison, too
        raise InputError(f"the {what} is {_shown(value)}; give a number above {least:g}")


def refuse_unless_whole(value: Any, what: str, least: int, most: int | None = None) -> None:
    """Raise InputError unless a value is a whole number from `least` to `most`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not least <= int(value) or (most is not None and int(value) > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"the {what} is {_shown(value)}; give a whole number {limits}")


def _takes(function: Any, count: int) -> bool:
    """Whether the signature of a function takes so many positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except ValueError:  # a function written in C may have no signature
        return True
    except TypeError:
        return False
    return True


def _shown(value: object) -> str:
    return shorten(repr(value), 80)
