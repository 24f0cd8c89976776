"""Keeps API keys and passwords out of errors and logs, whatever a server or library says."""

import re
from dataclasses import dataclass

from sam3_agent.sanitize import one_line

SHORT = 8
"""Characters below which a key of only letters or digits, such as "none", is a word, no secret."""

_SECRETS = (
    (re.compile(r"\b(sk-|AIza|Bearer\s+)[A-Za-z0-9_\-.*]{6,}"), r"\1***"),
    (re.compile(r"://[^\s/@]+@"), "://***@"),
)
"""What looks like a key, or a password in an address."""


@dataclass(frozen=True)
class Redactor:
    """Replaces one key, and whatever looks like a key, by asterisks."""

    key: str = ""

    def text(self, text: str, limit: int = 400) -> str:
        """A server's words on one line, without keys, in at most `limit` characters."""
        return one_line(self._without_keys(text), limit)

    def exception(self, error: BaseException | None) -> None:
        """Take the key out of an exception and its causes: a traceback or a log would show it."""
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            if self._without_keys(repr(error.args)) != repr(error.args):
                error.args = tuple(self._without_keys(str(arg)) for arg in error.args)
            for name in ("message", "body", "doc"):
                value = getattr(error, name, None)
                if value is not None and self._without_keys(str(value)) != str(value):
                    setattr(error, name, self._without_keys(str(value)))
            error = error.__cause__ or error.__context__

    def _without_keys(self, text: str) -> str:
        wordlike = re.fullmatch("[A-Za-z]+|[0-9]+", self.key) is not None
        if len(self.key) >= SHORT and not wordlike:
            text = text.replace(self.key, "***")
        elif self.key and (len(self.key) >= SHORT or not wordlike):
            text = re.sub(rf"(?<![\w.-]){re.escape(self.key)}(?![\w-])", "***", text)
        for pattern, shown in _SECRETS:
            text = pattern.sub(shown, text)
        return text
