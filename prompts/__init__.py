"""Prompt texts as Markdown files; a value that a text needs and does not get is an error."""

import string
from importlib import resources


def texts() -> dict[str, str]:
    """Every prompt text by its name, unfilled."""
    files = [one for one in resources.files(__name__).iterdir() if one.name.endswith(".md")]
    return {one.name.removesuffix(".md"): one.read_text(encoding="utf-8") for one in files}


def fill(name: str, **values: object) -> str:
    """The text of `<name>.md` with every `$value` filled in; raises KeyError for a missing one."""
    text = resources.files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    return string.Template(text).substitute(values)
