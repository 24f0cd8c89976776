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

MAX_FIELDS = 20
"""Fields of a form beside its file."""

FILE = {"type": "string", "format": "binary", "description": "The file's content."}


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


def body_reader() -> "Callable[[Request], Awaitable[RequestBody]]":
    """The dependency that reads a body of either type, with limits on forms."""
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
            for name, value in form.multi_items():
                if name in values:
                    raise HTTPException(422, f"the field {shorten(name, 80)!r} comes twice")
                values[name] = value if isinstance(value, str) else await value.read()
            return RequestBody(values)

    return read


def body_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI of a body that is JSON of this schema, or a form with the image as a file."""
    form = {**schema, "properties": {**schema["properties"], "image": FILE}}
    content = {JSON: {"schema": schema}, FORM: {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}
