"""Bodies, errors and examples in the OpenAPI of the REST server."""

from collections.abc import Mapping
from typing import Any

from sam3_agent.plugin.error_responses import ErrorBody, error_body
from sam3_agent.plugin.request_body import FORM, JSON
from sam3_agent.plugin.resources import KINDS

ABOUT = """Ask pictures questions; get words and pixel-exact masks.

A server that was started with a token needs it with every request but `/health`:
`Authorization: Bearer TOKEN`. Requests for other host names, and from other web pages, are refused.
Every error is `{"error": {"kind": ..., "message": ...}}`; the message is for people and models.
"""

EVERYWHERE = (400, 401, 403, 413, 421, 429)
"""Statuses that any request but those for /health may get, before its route is looked for."""

_ERRORS = {
    400: ("http", "The request cannot be read", "Invalid multipart data."),
    401: ("token", "The bearer token is missing or wrong", "a bearer token is needed"),
    403: ("origin", "The request comes from another web page", "requests from other web pages"),
    404: ("input", "There is no such thing", "there is no mask 7; the image has 3 masks"),
    408: ("http", "The body came too slowly", "the body took longer than 60 seconds to arrive"),
    413: ("too_large", "The body is too large", "the body is larger than 45 MB"),
    415: ("http", "The body is neither JSON nor a form", f"send {JSON} or {FORM}"),
    421: ("host", "The server does not answer to this host name", "this host name"),
    422: (
        "input",
        "The input cannot be used; the message says why",
        "segment needs the argument 'phrases'",
    ),
    429: ("busy", "Busy; Retry-After says when to try again", "the server is busy"),
    500: ("bug", "A bug in the server", "something went wrong in the server; its log says what"),
    502: ("planner", "The planner or the segmenter failed", "the planner failed"),
    503: ("closing", "The server is shutting down", "the server is shutting down"),
    504: ("late", "It took too long", "this took longer than 300 seconds"),
}
"""Status -> the kind of an error, what it means, and an example of its message."""

_ERROR = {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}
"""Where FastAPI puts the schema of a model that a JSON route names."""

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}

FILE = {
    "type": "string",
    "format": "binary",
    "description": "The file's content; or as text what the image of a JSON body may be.",
}

ACCEPT = {
    "name": "Accept",
    "in": "header",
    "required": False,
    "description": "The type of the response; text/event-stream for the progress of /ask.",
    "schema": {"type": "string", "examples": [JSON]},
}
"""openapi-python-client 0.29 makes modules that cannot be imported of operations with two types of
bodies and no optional parameter; those that know the standard leave this one out.
"""

HANDLE = "img_0123456789abcdef01234567"
"""An example of a handle."""

IMAGE = "https://example.com/cars.jpg"

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "ask_image": {"image": IMAGE, "query": "the leftmost red car"},
    "segment": {"image": IMAGE, "phrases": ["red car", "dog"]},
    "refine": {"image": HANDLE, "like": [1], "phrase": "red car"},
    "look": {"image": HANDLE, "numbers": [1, 2]},
    "measure": {"image": HANDLE, "numbers": [1, 2]},
    "get_masks": {"image": HANDLE, "numbers": [1, 2], "format": "polygons"},
    "open_image": {"image": IMAGE},
}
"""Operation -> a body."""

RESULT: Mapping[str, Any] = {
    "image": HANDLE,
    "width": 640,
    "height": 480,
    "text": "1 mask of red car.",
    "status": "done",
    "masks": [
        {
            "number": 1,
            "phrase": "red car",
            "score": 0.93,
            "box": [0.0, 0.0, 128.0, 480.0],
            "box_percent": [0.0, 0.0, 20.0, 100.0],
            "area": 61440,
            "area_percent": 20.0,
            "segmentation": {"size": [480, 640], "counts": "0PPl1PP`7"},
        }
    ],
    "details": {},
}
"""An example of what a tool finds."""

EVENTS = "text/event-stream"
"""The type of a response with progress."""

EVENTS_EXAMPLE = 'event: progress\ndata: {"text": "turn 1 of 12"}\n\nevent: result\ndata: {}\n\n'

_FILES: Mapping[str, Any] = {
    "masks.json": {"type": "object"},
    "conversation.json": {"type": "array", "items": {"type": "object"}},
}
"""Schemas of the files that are JSON."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route: these, and those that any request may get."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *EVERYWHERE}):
        kind, about, example = _ERRORS[status]
        found[status] = {
            "description": about,
            "content": {JSON: {"schema": _ERROR, "example": error_body(kind, example)}},
        }
        if status in (429, 503):
            found[status]["headers"] = _RETRY_AFTER
    return found


def body(operation: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A body that is JSON of this schema, or a form with the image as a file.

    An item of an array is a part of the form by itself.
    """
    properties = {**schema["properties"], "image": FILE}
    arrays = {name: one["items"] for name, one in properties.items() if one.get("type") == "array"}
    # lists of lists, such as points, come as one JSON text for each inner list
    encoding = {name: _encoding(items) for name, items in arrays.items()}
    form = {"schema": {**schema, "properties": properties}, "encoding": encoding}
    content = {JSON: {"schema": schema, "example": EXAMPLES[operation]}, FORM: form}
    return {"requestBody": {"required": True, "content": content}, "parameters": [ACCEPT]}


def responses(example: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route, with an example of its successful one."""
    failed = {status: {**one, "model": ErrorBody} for status, one in errors(*statuses).items()}
    return {200: {"content": {JSON: {"example": example}}}, **failed}


def _encoding(items: Mapping[str, Any]) -> dict[str, Any]:
    plain = items.get("type") in ("string", "number", "integer")
    return {"style": "form", "explode": True} if plain else {"contentType": JSON}


def tool_responses(events: bool, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a tool; events: it can send its progress."""
    described = responses(RESULT, *statuses)
    found = described[200]
    found["description"] = "What the tool found."
    if events:
        found["description"] += " As events: progress, then result or error."
        found["content"][EVENTS] = {"schema": {"type": "string"}, "example": EVENTS_EXAMPLE}
    return described


def with_files(openapi: dict[str, Any], path: str) -> dict[str, Any]:
    """The OpenAPI with a path for each kind of file about an image, instead of one for all of them.

    path: that one. Clients that are generated take the first content type of a path for its only.
    """
    found = openapi["paths"].pop(path, None)
    if found is None:  # FastAPI keeps what it has made
        return openapi
    for name, (kind, about) in KINDS.items():
        parameters = [_parameter("handle", "string", "Of the image.", HANDLE)]
        if "{number}" in name:
            parameters.append(_parameter("number", "integer", "Of the mask.", 1))
        schema = _FILES.get(name, {"type": "string", "format": "binary"})
        openapi["paths"][path.replace("{name}", name)] = {
            "get": {
                "operationId": "read_" + name.replace("/{number}.png", "").replace(".", "_"),
                "summary": about,
                "parameters": parameters,
                "responses": {
                    "200": {"description": about, "content": {kind: {"schema": schema}}},
                    **{str(status): one for status, one in errors(404, 500, 503, 504).items()},
                },
            }
        }
    return openapi


def _parameter(name: str, kind: str, about: str, example: Any) -> dict[str, Any]:
    schema = {"type": kind, "examples": [example]}
    return {"name": name, "in": "path", "required": True, "description": about, "schema": schema}
