"""Finds classes and functions by name: built-in, entry point, or `package.module:Class`.

Only the operator's options and arguments reach this module, never what a caller of REST or MCP
sends: a name may import any module that Python finds.
"""

import difflib
import functools
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib import metadata
from typing import Any

from sam3_agent.errors import InputError, Sam3AgentError

_MODULE_AND_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@functools.cache
def installed(group: str) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
    """The entry points of installed packages in `sam3_agent.GROUP`, by name."""
    found: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    # a package that is on two entries of sys.path is listed twice
    for point in dict.fromkeys(metadata.entry_points(group=f"sam3_agent.{group}")):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def packages(groups: Iterable[str]) -> list[str]:
    """The names of the installed packages that have entry points in these groups."""
    points = [point for group in groups for own in installed(group).values() for point in own]
    return sorted({_package(point) for point in points})


def find(group: str, name: str, built_in: Mapping[str, str]) -> Any:
    """What a name stands for: built-in first, then an entry point, then `package.module:Class`.

    built_in: names to `package.module:Class`. Returns None for a name that is none of these, and
    for a module that does not exist. Raises InputError for what cannot be imported, and for a name
    that two packages use.
    """
    if name in built_in:
        return load(built_in[name])
    points = installed(group).get(name, ())
    if len(points) > 1:
        raise InputError(
            f"several packages have {group} of the name {name!r}: "
            f"{', '.join(map(_package, points))}; uninstall all but one of them"
        )
    point = points[0] if points else None
    if point is None and not (_MODULE_AND_NAME.fullmatch(name) and _module_exists(name)):
        return None
    try:
        return load(name) if point is None else point.load()
    except InputError:
        raise
    except Exception as error:  # whatever a module of somebody else raises
        of = f" of the package {_package(point)}" if point else ""
        raise InputError(
            f"{name!r}{of} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def load(reference: str) -> Any:
    """The object that `package.module:Class` names; InputError when the module has none."""
    module, _, path = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        if not hasattr(found, part):
            near = suggestion(part, dir(found))
            raise InputError(f"{reference!r}: {found.__name__} has no {part!r}{near}")
        found = getattr(found, part)
    return found


def make(what: str, factory: Any, *arguments: Any, **options: Any) -> Any:
    """Call a class or function; an object that is no class or function is taken as it is.

    what: what is made, for errors. Raises InputError when it does not take the arguments, and when
    a class of another package raises anything but this package's errors.
    """
    if not inspect.isroutine(factory) and not isinstance(factory, (type, functools.partial)):
        return factory
    try:
        # first, so that a TypeError raised inside is not taken for wrong arguments
        inspect.signature(factory).bind(*arguments, **options)
    except TypeError as error:
        raise InputError(f"{what} cannot be made so: {error}") from error
    except ValueError:
        pass  # it has no signature
    try:
        return factory(*arguments, **options)
    except Exception as error:
        function = factory.func if isinstance(factory, functools.partial) else factory
        # a fault in this package is a bug, and keeps its traceback
        own = function.__module__.partition(".")[0] == "sam3_agent"
        if own or isinstance(error, Sam3AgentError):
            raise
        raise InputError(f"{what} cannot be made: {type(error).__name__}: {error}") from error


def suggestion(name: str, known: Collection[str]) -> str:
    """The known name that is most alike, as " (did you mean 'x'?)"; nothing when none is.

    A known name is also recognized by its part after "/" or ":", and with a typing error in the
    part before ":", whose rest is then kept.
    """
    if name in known:
        return ""
    given = name.strip().lower()
    head, colon, rest = given.partition(":")
    spellings: dict[str, str] = {}
    for one in known:
        before, _, after = one.partition(":")
        spellings.setdefault(one.lower(), one)
        spellings.setdefault(re.split("[:/]", one)[-1].lower(), one)
        if after and colon and rest and difflib.get_close_matches(head, [before.lower()]):
            kept = f"{before}:{name.strip().partition(':')[2]}"
            spellings.setdefault(f"{before.lower()}:{rest}", kept)
        elif after and given.partition("-")[0] == after.lower().partition("-")[0]:
            spellings.setdefault(given, f"{before}:{name.strip()}")  # "gpt-5" for openai:gpt-5
    near = difflib.get_close_matches(given, spellings, n=1, cutoff=0.6)
    # a part alone is less to go by, so it has to be more alike
    near = near or difflib.get_close_matches(head, spellings, n=1, cutoff=0.7)
    return f" (did you mean {spellings[near[0]]!r}?)" if near else ""


def absence(name: str, known: Collection[str]) -> str:
    """Why a name stands for nothing: it is like a known name, or its module is not there."""
    near = suggestion(name, known)
    if near or not _MODULE_AND_NAME.fullmatch(name):
        return near
    return f" and no module {name.partition(':')[0]!r}, neither installed nor in this folder"


def _module_exists(reference: str) -> bool:
    """Whether the module of `package.module:Class` is there; also in the working directory.

    A console script, unlike `python -m`, does not find modules in the working directory.
    """
    top = reference.partition(":")[0].partition(".")[0]
    if top in sys.modules:
        return True
    # only the top package: looking for a submodule would import its parents
    if importlib.util.find_spec(top) is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
        importlib.invalidate_caches()
    return importlib.util.find_spec(top) is not None


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
