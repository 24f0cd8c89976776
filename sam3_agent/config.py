"""The configuration: which planner and segmenter run when no option names one.

A setting is looked up in this order: the option or argument, the environment variable, the
configuration file that `sam3-agent setup` writes, the default. The file is TOML::

    planner = "openai:gpt-5.4-mini"
    segmenter = "open:tiny"
    base_url = "http://localhost:8000/v1"    # of an openai: planner

Keys stay in the environment: none is read from the file or written to it.
"""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from sam3_agent.errors import InputError
from sam3_agent.local_files import home_expanded, read_regular_file

Setting: TypeAlias = Literal["planner", "segmenter", "base_url"]

VARIABLES: dict[Setting, str] = {
    "planner": "SAM3_AGENT_PLANNER",
    "segmenter": "SAM3_AGENT_SEGMENTER",
    "base_url": "OPENAI_BASE_URL",
}
"""The environment variable that overrules each setting in the file."""

DEFAULTS: dict[Setting, str] = {"planner": "offline", "segmenter": "tiny"}


@dataclass(frozen=True)
class Choice:
    """The value of a setting, None when it is not set, and a description of its source.

    file: the configuration file, if it was read from there.
    """

    value: str | None
    source: str
    file: Path | None = None


def chosen(setting: Setting, given: str | None = None) -> Choice:
    """Looks up a setting; given: an option or argument, None for none.

    Raises InputError when the configuration file is needed and cannot be read.
    """
    if given:
        return Choice(given, "given")
    variable = VARIABLES[setting]
    if os.environ.get(variable):
        return Choice(os.environ[variable], f"${variable}")
    path = config_path()
    value = None if path is None else read_config(path).get(setting)
    if value is not None:
        return Choice(value, f"the configuration {path}", path)
    return Choice(DEFAULTS.get(setting), "default")


def config_path() -> Path | None:
    """The path of the configuration file, which need not exist; None without a home folder.

    $SAM3_AGENT_CONFIG, else sam3-agent/config.toml in %APPDATA% (Windows), in $XDG_CONFIG_HOME, or
    in ~/.config.
    """
    named = os.environ.get("SAM3_AGENT_CONFIG")
    if named:
        return home_expanded(named)
    folder = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", "")
    if not os.path.isabs(folder):  # the XDG specification has relative paths ignored
        folder = os.path.expanduser("~/.config")
    return Path(folder) / "sam3-agent" / "config.toml" if os.path.isabs(folder) else None


def read_config(path: Path) -> dict[Setting, str]:
    """Reads the settings of a configuration file; none when there is no such file.

    Raises InputError that names the file and line for anything that is not a known setting.
    """
    text = ""
    try:
        text = read_regular_file(path).decode("utf-8-sig")
        values = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):  # HOME=/dev/null, of users of the system
        return {}
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: this is not UTF-8 text; {_MEND}") from error
    except tomllib.TOMLDecodeError as error:
        last = f"at line {len(text.splitlines())}"
        problem = str(error).replace("at end of document", last)
        raise InputError(f"the configuration {path} is no TOML: {problem}; {_MEND}") from error
    for name, value in values.items():
        place = f"{path}, line {_line_of(name, text)}"
        if name not in get_args(Setting):
            known = ", ".join(get_args(Setting))
            raise InputError(f"{place}: there is no setting {name!r}; the settings are {known}")
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{place}: {name} is {value!r}, not a text in quotes such as {_SHOWN}")
    return values  # type: ignore[return-value]


def write_config(path: Path, values: dict[Setting, str]) -> None:
    """Writes a configuration file; raises InputError when it cannot be written."""
    lines = ["# written by `sam3-agent setup`; keys are read from the environment only"]
    # a JSON string is a TOML string
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


_MEND = "mend or delete it, or run `sam3-agent setup`"
_SHOWN = 'planner = "offline"'


def _line_of(name: str, text: str) -> int:
    """The line of a setting, or of a table of that name, from 1; 1 when it is not found."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip().lstrip("[").lstrip().strip("\"'").startswith(name):
            return number
    return 1
