"""Checks keys and base URLs of model servers before the first request.

No error message contains the key, which would get into logs and error reports.
"""

import re
from urllib.parse import urlsplit

from sam3_agent.errors import PlannerError

_NO_KEY_HAS = re.compile(r"[\s\"'`\\]|[^\x21-\x7e]")


def checked_key(key: str | None, variable: str) -> str:
    """Strips blanks and line breaks around a key; empty when there is none.

    variable: the environment variable that it belongs into. Raises PlannerError for a key that
    cannot be one.
    """
    key = _stripped(key)
    problem = key_problem(key)
    if problem is not None:
        raise PlannerError(
            f"the key for {variable} has characters that no key has: {problem}. Copy the key "
            f"alone, once more, into {variable}"
        )
    return key


def key_problem(key: str | None) -> str | None:
    """Describes a character that no key contains, without the key; None for one that may be right.

    Two keys in one variable, or a key that was copied with its surroundings, have one.
    """
    key = _stripped(key)
    wrong = _NO_KEY_HAS.search(key)
    if wrong is None:
        return None
    if wrong[0] in "\r\n":
        what = "a line break"
    elif wrong[0].isspace():
        what = "a blank"
    elif wrong[0] in "\"'`\\":
        what = "a quotation mark or backslash"
    else:
        what = "a character that is no printable ASCII"
    return f"{what} inside (character {wrong.start() + 1} of {len(key)})"


def _stripped(key: str | None) -> str:
    return (key or "").strip().strip("\ufeff\u200b").strip()


def checked_url(url: str | None, variable: str, surplus: str, example: str) -> str | None:
    """Strips blanks around a base URL; None when there is none.

    variable: the environment variable that it belongs into. surplus: a pattern for the end of a
    path that the client adds itself. example: a right one. Raises PlannerError with what is wrong.
    """
    url = (url or "").strip()
    if not url:
        return None
    problem = _problem(url, surplus)
    if problem is None:
        return url
    shown = re.sub(r"[^/\s]*@", "***@", url)
    raise PlannerError(
        f"the base URL {shown!r} cannot be used: {problem}. Check {variable}; it should be one "
        f"such as {example}"
    )


def _problem(url: str, surplus: str) -> str | None:
    """Describes what is wrong with a base URL; None if nothing is."""
    if re.search(r"\s", url) or not url.isprintable():
        return "it has a blank, a line break or a character that cannot be seen inside"
    if not re.match(r"https?://", url, re.IGNORECASE):
        return "it does not begin with http:// or https://"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its port is no number from 1 to 65535, or its host cannot be read"
    if not parts.hostname or not re.fullmatch(r"[\w.:%-]+", parts.hostname):
        return "it names no host"
    if port == 0:
        return "its port is no number from 1 to 65535"
    if parts.query or parts.fragment:
        return "it has a part after ? or #"
    surplus_end = re.search(rf"(?:{surplus})/?$", parts.path)
    if surplus_end is not None:
        return f"it ends in {surplus_end[0]}, which is added to it for every request: leave it out"
    return None
