"""The parts of the REST server's OpenAPI description that are written by hand."""

import copy
import json
from typing import Any

from sam3_agent.plugin.result import SCHEMA
from sam3_agent.tool import Tool

_FILE = {"type": "string", "format": "binary", "description": "The file's content."}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"kind": {"type": "string"}, "message": {"type": "string"}},
            "required": ["kind", "message"],
        }
    },
    "required": ["error"],
}
_REASONS = {
    400: "The request cannot be read",
    404: "There is no such thing",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is neither JSON nor a form",
    422: "The input cannot be used; the message says why",
    429: "Busy; Retry-After says when to try again",
    500: "A bug in the server",
    502: "The planner or the segmenter failed",
    504: "It took too long",
}


def _with_segmentation() -> dict[str, Any]:
    """`SCHEMA` with a COCO RLE for each mask."""
    schema = copy.deepcopy(SCHEMA)
    mask = schema["properties"]["masks"]["items"]
    mask["properties"]["segmentation"] = {
        "type": "object",
        "description": "Compressed COCO run-length encoding.",
        "properties": {
            "size": {"type": "array", "items": {"type": "integer"}},
            "counts": {"type": "string"},
        },
        "required": ["size", "counts"],
    }
    mask["required"] = [*mask["required"], "segmentation"]
    return schema


RESULT = {
    "description": "What the tool found; as events: progress, then result or error.",
    "content": {"application/json": {"schema": _with_segmentation()}},
}

OPENED = {
    "description": "The image is open.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "string"},
                    "width": {"type": "integer"},
                    "height": {"type": "integer"},
                },
                "required": ["image", "width", "height"],
            }
        }
    },
}

FILES = {
    "description": "overlay.jpg, masks.json, masks/NUMBER.png or conversation.json.",
    "content": {kind: {} for kind in ("image/jpeg", "image/png", "application/json")},
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of an endpoint that are no success."""
    content = {"application/json": {"schema": _ERROR}}
    return {one: {"description": _REASONS[one], "content": content} for one in statuses}


def described(tool: Tool, streamed: bool) -> dict[str, Any]:
    """The request of a tool's endpoint: JSON, or a form with the image as a file."""
    schema = json.loads(json.dumps(tool.parameters))
    form = copy.deepcopy(schema)
    form["properties"]["image"] = _FILE
    more = " Ask for text/event-stream to get progress as events." if streamed else ""
    return {
        "description": tool.description + more,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema},
                "multipart/form-data": {"schema": form},
            },
        },
    }


def _image(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": {
            "type": "object",
            "properties": {"image": schema},
            "required": ["image"],
            "additionalProperties": False,
        }
    }


IMAGE = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": _image({"type": "string"}),
            "multipart/form-data": _image(_FILE),
        },
    }
}
