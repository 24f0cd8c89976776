"""Bodies of REST requests: JSON, or a form whose image may be a file; one schema describes both."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam3_agent.errors import ToolError
from sam3_agent.sanitize import shorten
from sam3_agent.tool import read_json

if TYPE_CHECKING:
    from fastapi import Request

JSON, FORM = "application/json", "multipart/form-data"

MAX_VALUES = 20_000
"""Values in a body of JSON: the most that arguments need is a few hundred."""

MAX_FIELDS = 150
"""Fields of a form beside its file: an item of a list is one by itself."""


@dataclass(frozen=True)
class RequestBody:
    """A body as it came: raw JSON, or the fields of a form, whose `image` may be a file."""

    content: bytes | dict[str, Any]

    def values(self) -> dict[str, Any]:
        """The arguments; raises ToolError for what is no JSON object."""
        if isinstance(self.content, dict):
            return self.content
        # counted before they are read: each takes a hundred times its size in memory
        if sum(map(self.content.count, (b",", b"[", b"{"))) > MAX_VALUES:
            raise ToolError(
                f"the body is not valid JSON here: it has more than {MAX_VALUES:,} values"
            )
        try:
            values = read_json(self.content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ToolError("the body is not valid JSON") from error
        if not isinstance(values, dict):
            raise ToolError("the body must be a JSON object")
        return values


def body_reader(schema: Mapping[str, Any]) -> "Callable[[Request], Awaitable[RequestBody]]":
    """The dependency that reads a body of either type, with limits on forms.

    schema: of the arguments. In a form an array may come as one field for each item.
    """
    from fastapi import Request
    from starlette.exceptions import HTTPException

    async def read(request: Request) -> RequestBody:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == JSON:
            return RequestBody(await request.body())
        if kind != FORM:
            raise HTTPException(415, f"send {JSON} or {FORM}")
        async with request.form(max_files=1, max_fields=MAX_FIELDS) as form:
            values: dict[str, Any] = {}
            for name in form:
                parts = [
                    one if isinstance(one, str) else await one.read() for one in form.getlist(name)
                ]
                items = schema["properties"].get(name, {}).get("items")
                if len(parts) > 1 and (items is None or not all(isinstance(p, str) for p in parts)):
                    raise HTTPException(422, f"the field {shorten(name, 80)!r} comes twice")
                values[name] = parts if len(parts) > 1 else _single(parts[0], items)
            return RequestBody(values)

    return read


def _single(value: Any, items: Mapping[str, Any] | None) -> Any:
    """The value of a field that comes once; items: the schema of those of an array.

    Text that is no list in JSON, and of one line, is the only item of an array of texts, with all
    its commas.
    """
    is_text = isinstance(value, str) and items is not None and items.get("type") == "string"
    if is_text and "\n" not in value and value.strip()[:1] not in ("[", "(", '"', "'"):
        return [value]
    return value
