"""What the MCP server sends: tool descriptions, results as content blocks, resource links."""

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam3_agent.agent import Agent
from sam3_agent.plugin import resources
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.result import ToolResult
from sam3_agent.plugin.result_size import MAX_RESULT_BYTES, MAX_RESULT_TOKENS, Pictures, fit
from sam3_agent.plugin.work_queue import WorkQueue
from sam3_agent.segmenter import threshold_of
from sam3_agent.tool import Tool

if TYPE_CHECKING:
    import mcp_types as types

MAX_LINKS = 40
"""Masks that a result links to one by one; of more it links only to masks.json."""


@dataclass(frozen=True)
class ContentOptions:
    """What results hold besides text.

    structured: structured content for every client, and its schema; many then hide the pictures
    from their model. links: links to masks, which many clients turn into broken files. pictures:
    how large, or none for a client that turns them into text.
    """

    structured: bool = False
    links: bool = False
    pictures: Pictures = "full"


FILE = {
    "type": "object",
    "description": "A file that a person attached, in the form that ChatGPT sends.",
    "properties": {
        "download_url": {"type": "string", "description": "An https URL."},
        "file_id": {"type": "string", "description": "Its id at the client; not used."},
        "mime_type": {"type": "string", "description": "Such as image/png; not used."},
        "file_name": {"type": "string", "description": "Such as street.png; not used."},
    },
    "required": ["download_url", "file_id"],
}


def tool_description(tool: Tool, limits: str, output_schema: dict[str, Any] | None) -> "types.Tool":
    """A tool as clients list it; over MCP an image may also be an attached file."""
    import mcp_types as types

    schema = json.loads(json.dumps(tool.parameters))
    image = schema["properties"]["image"]
    schema["properties"]["image"] = {
        "description": image.pop("description"),
        "anyOf": [image, FILE],
    }
    return types.Tool(
        name=tool.name,
        description=f"{tool.description}\n\n{limits}",
        input_schema=schema,
        output_schema=output_schema,
        annotations=types.ToolAnnotations(
            read_only_hint=True,
            destructive_hint=False,
            # asked again, a model may answer otherwise, and the question joins the image's chat
            idempotent_hint=tool.name != "ask_image",
            # an image may come from the web, and a question may go to a model elsewhere
            open_world_hint=True,
        ),
        _meta={"openai/fileParams": ["image"]},
    )


def limits_text(loader: ImageLoader, queue: WorkQueue, agent: Agent | None) -> str:
    """The limits of every tool in one paragraph; agent: None while its models are loaded."""
    pixels, scores = loader.max_megapixels, ""
    if agent is not None:
        pixels = min(pixels, agent.max_megapixels)
        least = threshold_of(agent.segmenter)
        scores = f"scores of at least {least:g} if no threshold is given; "
    return (
        f"Limits: an image of at most {loader.max_bytes / 1e6:g} MB and {pixels:g} megapixels; "
        f"{scores}{queue.seconds:g} seconds a call; a result of at most "
        f"{MAX_RESULT_BYTES / 1e3:g} kB and {MAX_RESULT_TOKENS:,} tokens (pictures are made "
        "smaller, rows of masks are left out)."
    )


def arguments_with_url(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the URL of an attached file as the image."""
    image = arguments.get("image")
    url = image.get("download_url") if isinstance(image, dict) else None
    return arguments if url is None else {**arguments, "image": url}


def result_content(result: ToolResult, options: ContentOptions) -> "types.CallToolResult":
    """A result as text, pictures, and what the options ask for."""
    import mcp_types as types

    links = _links(result) if options.links else []
    sized = fit(
        result,
        [link.model_dump(by_alias=True, exclude_none=True) for link in links],
        options.structured,
        options.pictures,
    )
    pictures = [
        types.ImageContent(data=file.base64, mime_type=file.media_type) for file in sized.pictures
    ]
    return types.CallToolResult(
        content=[types.TextContent(text=sized.text), *pictures, *links],
        structured_content=sized.structured,
    )


def _links(result: ToolResult) -> "list[types.ResourceLink]":
    """Links to the masks of a result."""
    links = [_link(result.image, "masks.json")] if result.masks else []
    if len(result.masks) <= MAX_LINKS:
        links += [_link(result.image, "masks/{number}.png", mark.number) for mark in result.masks]
    return links


def resource_content(uri: str, content: bytes, kind: str) -> "types.ReadResourceResult":
    """A resource as text if it is JSON, else in base64."""
    import mcp_types as types

    if kind == "application/json":
        text = types.TextResourceContents(uri=uri, mime_type=kind, text=content.decode())
        return types.ReadResourceResult(contents=[text])
    blob = base64.b64encode(content).decode("ascii")
    return types.ReadResourceResult(
        contents=[types.BlobResourceContents(uri=uri, mime_type=kind, blob=blob)]
    )


def resource_templates() -> "list[types.ResourceTemplate]":
    """The files that every image has."""
    import mcp_types as types

    return [
        types.ResourceTemplate(
            name=name,
            uri_template=resource_uri("{image}", name),
            mime_type=kind,
            description=description,
        )
        for name, (kind, description) in resources.KINDS.items()
    ]


def resource_uri(image: str, name: str) -> str:
    """The URI of a file about the image with this handle."""
    return f"sam3://{image}/{name}"


def _link(image: str, name: str, number: int | None = None) -> "types.ResourceLink":
    import mcp_types as types

    kind, description = resources.KINDS[name]
    return types.ResourceLink(
        name=name if number is None else f"mask {number}",
        uri=resource_uri(image, name.format(number=number)),
        mime_type=kind,
        description=description,
    )
