"""The MCP server: the tools, masks and pictures as resources, and prompts, for any MCP client."""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sam3_agent import registry
from sam3_agent.errors import InputError, ToolError
from sam3_agent.extras import require
from sam3_agent.plugin import resources
from sam3_agent.plugin.error_responses import progress, refusal
from sam3_agent.plugin.middleware import AccessMiddleware, Rules
from sam3_agent.plugin.provider_schemas import TOOLS
from sam3_agent.plugin.result import SCHEMA, ToolResult
from sam3_agent.plugin.result_size import MAX_RESULT_BYTES, MAX_RESULT_TOKENS, fit, fit_text
from sam3_agent.plugin.sessions import sweep
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.plugin.work_queue import Tell, WorkQueue
from sam3_agent.sanitize import shorten
from sam3_agent.tool import Tool

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

MAX_LINKS = 40
"""Masks that a result links to one by one; of more it links only to masks.json."""

PATH = "/mcp"

PROMPTS = {
    "find": "Find something in an image and show it.",
    "count": "Count something in an image.",
    "compare": "Compare things in an image by measuring them.",
}

STRUCTURED_CLIENTS = frozenset({"mcp-inspector", "inspector-cli"})
"""Clients, by the name they give, that show structured content beside pictures.

Others (Codex, opencode, Copilot) give a model nothing but the structured content where there is
any, and so hide the pictures from it.
"""

FILE = {
    "type": "object",
    "description": "A file that a person attached, as ChatGPT hands it over.",
    "properties": {
        "download_url": {"type": "string", "description": "An https URL."},
        "file_id": {"type": "string"},
        "mime_type": {"type": "string"},
        "file_name": {"type": "string"},
    },
    "required": ["download_url", "file_id"],
}

_URI = re.compile(r"sam3://(img_[0-9a-f]+)/(.+)")


def build(toolkit: Toolkit, queue: WorkQueue, structured: bool = False) -> "Server[Any]":
    """The server; requests that come without HTTP belong to the owner of `eyes`.

    structured: send structured content, and declare its schema, to every client.
    """
    require("mcp", "mcp_types", "starlette", extra="mcp", purpose="the MCP server")
    from mcp.server.lowlevel import Server

    @contextlib.asynccontextmanager
    async def lifespan(_: "Server[Any]") -> AsyncIterator[dict[str, Any]]:
        sweeping = asyncio.create_task(sweep(toolkit.sessions))
        yield {}
        sweeping.cancel()

    handlers = _Handlers(toolkit, queue, structured)
    return Server(
        "sam3-agent",
        title="sam3-agent",
        version=version("sam3-agent"),
        lifespan=lifespan,
        instructions=registry.prompt("plugin_instructions"),
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_resource_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
    )


def http_app(server: "Server[Any]", rules: Rules) -> AccessMiddleware:
    """The server as an ASGI app that speaks streamable HTTP at /mcp."""
    from mcp.server.transport_security import TransportSecuritySettings

    # the door checks hosts and origins for all paths alike
    checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=rules.max_bytes,
        transport_security=checked,
    )
    return AccessMiddleware(app, rules)


class _Handlers:
    """Answers the requests of MCP clients."""

    def __init__(self, toolkit: Toolkit, queue: WorkQueue, structured: bool) -> None:
        self._toolkit = toolkit
        self._queue = queue
        self._structured = structured

    async def list_tools(
        self, context: "ServerRequestContext[Any, Any]", params: Any
    ) -> "types.ListToolsResult":
        import mcp_types as types

        # clients refuse a result without structured content from a tool that declares a schema
        schema = SCHEMA if self._sends_structured(context) else None
        limits = _limits(self._toolkit, self._queue)
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=f"{tool.description}\n\n{limits}",
                    input_schema=_input_schema(tool),
                    output_schema=schema,
                    annotations=_annotations(tool.name),
                    _meta={"openai/fileParams": ["image"]},
                )
                for tool in TOOLS.values()
            ]
        )

    async def call_tool(
        self, context: "ServerRequestContext[Any, Any]", params: "types.CallToolRequestParams"
    ) -> "types.CallToolResult":
        import mcp_types as types

        toolkit, structured = self._toolkit_of(context), self._sends_structured(context)

        def work(tell: Tell) -> "types.CallToolResult":
            tool = TOOLS.get(params.name)
            if tool is None:
                raise ToolError(
                    f"there is no tool {shorten(params.name, 80)!r}; "
                    f"the tools are: {', '.join(TOOLS)}"
                )
            given = tool.fitting(_with_url(params.arguments or {}))
            result: ToolResult = getattr(replace(toolkit, watch=tell), tool.name)(**given)
            return _result(result, structured)

        try:
            steps = 0
            async with contextlib.aclosing(self._queue.stream(work)) as stream:
                async for step in stream:
                    if isinstance(step, types.CallToolResult):
                        return step
                    line = progress(step)
                    if line is not None:
                        steps += 1
                        await context.session.report_progress(steps, None, line)
        except Exception as error:
            _, _, told = refusal(error)
            text = types.TextContent(text=fit_text(told))
            return types.CallToolResult(content=[text], is_error=True)
        raise AssertionError("work ends with a result")

    async def list_resources(self, context: Any, params: Any) -> "types.ListResourcesResult":
        import mcp_types as types

        # handles are secrets: a client knows its own from the results
        return types.ListResourcesResult(resources=[])

    async def list_resource_templates(
        self, context: Any, params: Any
    ) -> "types.ListResourceTemplatesResult":
        import mcp_types as types

        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    name=name,
                    uri_template=_uri("{image}", name),
                    mime_type=kind,
                    description=description,
                )
                for name, (kind, description) in resources.KINDS.items()
            ]
        )

    async def read_resource(
        self, context: "ServerRequestContext[Any, Any]", params: "types.ReadResourceRequestParams"
    ) -> "types.ReadResourceResult":
        import mcp_types as types
        from mcp.shared.exceptions import MCPError

        toolkit, uri = self._toolkit_of(context), str(params.uri)

        def work(_: Tell) -> tuple[bytes, str]:
            found = _URI.fullmatch(uri)
            if found is None:
                raise InputError(f"a resource looks like {_uri('{image}', 'overlay.jpg')}")
            return resources.read(toolkit, found[1], found[2])

        try:
            content, kind = await self._queue.run(work)
        except Exception as error:
            status, _, told = refusal(error)
            code = types.INVALID_PARAMS if status == 422 else types.INTERNAL_ERROR
            raise MCPError(code=code, message=told) from error
        if kind == "application/json":
            text = types.TextResourceContents(uri=uri, mime_type=kind, text=content.decode())
            return types.ReadResourceResult(contents=[text])
        blob = base64.b64encode(content).decode("ascii")
        return types.ReadResourceResult(
            contents=[types.BlobResourceContents(uri=uri, mime_type=kind, blob=blob)]
        )

    async def list_prompts(self, context: Any, params: Any) -> "types.ListPromptsResult":
        import mcp_types as types

        arguments = [
            types.PromptArgument(
                name="image", description="A URL, a path or a handle.", required=True
            ),
            types.PromptArgument(name="what", description="In plain words.", required=True),
        ]
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(name=name, description=description, arguments=arguments)
                for name, description in PROMPTS.items()
            ]
        )

    async def get_prompt(
        self, context: Any, params: "types.GetPromptRequestParams"
    ) -> "types.GetPromptResult":
        import mcp_types as types
        from mcp.shared.exceptions import MCPError

        given = params.arguments or {}
        if params.name not in PROMPTS or set(given) != {"image", "what"}:
            told = f"the prompts are {', '.join(PROMPTS)}, each with image and what"
            raise MCPError(code=types.INVALID_PARAMS, message=told)
        text = types.TextContent(text=registry.prompt(f"plugin_{params.name}", **given))
        return types.GetPromptResult(
            description=PROMPTS[params.name],
            messages=[types.PromptMessage(role="user", content=text)],
        )

    def _sends_structured(self, context: "ServerRequestContext[Any, Any]") -> bool:
        """Whether a client gets structured content: when asked for, or if known to show it."""
        client = context.session.client_params
        return self._structured or (
            client is not None and client.client_info.name in STRUCTURED_CLIENTS
        )

    def _toolkit_of(self, context: "ServerRequestContext[Any, Any]") -> Toolkit:
        """The eyes of whoever sent this request.

        Over HTTP a session is what the handshake of the older protocols began; its id was checked
        by the transport. The protocol of 2026-07-28 has no sessions: there a handle is all.
        """
        from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

        if context.request is None:
            return self._toolkit
        session = None
        if context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            session = context.request.headers.get("mcp-session-id")
        return replace(self._toolkit, owner=session and f"mcp {session}")


def _result(result: ToolResult, structured: bool) -> "types.CallToolResult":
    """A sight as words, pictures, links to masks, and values if they are asked for."""
    import mcp_types as types

    links = [_link(result.image, "masks.json")] if result.masks else []
    if len(result.masks) <= MAX_LINKS:
        links += [_link(result.image, "masks/{number}.png", mark.number) for mark in result.masks]
    sized = fit(
        result, [link.model_dump(by_alias=True, exclude_none=True) for link in links], structured
    )
    pictures = [
        types.ImageContent(data=base64.b64encode(file).decode("ascii"), mime_type="image/jpeg")
        for file in sized.pictures
    ]
    return types.CallToolResult(
        content=[types.TextContent(text=sized.text), *pictures, *links],
        structured_content=sized.structured,
    )


def _input_schema(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments; over MCP an image may also be an attached file."""
    schema = json.loads(json.dumps(tool.parameters))
    image = schema["properties"]["image"]
    schema["properties"]["image"] = {"anyOf": [image, FILE]}
    return schema  # type: ignore[no-any-return]


def _with_url(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the URL of an attached file as the image."""
    image = arguments.get("image")
    url = image.get("download_url") if isinstance(image, dict) else None
    return arguments if url is None else {**arguments, "image": url}


def _annotations(tool: str) -> "types.ToolAnnotations":
    """What a client may tell a person of a tool before it runs."""
    import mcp_types as types

    return types.ToolAnnotations(
        read_only_hint=True,
        destructive_hint=False,
        # asked again, a model may answer otherwise, and the question joins the image's chat
        idempotent_hint=tool != "ask_image",
        # an image may come from the web, and a question may go to a model elsewhere
        open_world_hint=True,
    )


def _limits(toolkit: Toolkit, queue: WorkQueue) -> str:
    """The limits of every tool in one paragraph."""
    loader = toolkit.loader
    pixels = min(loader.max_megapixels, toolkit.agent.max_megapixels)
    return (
        f"Limits: an image of at most {loader.max_bytes / 1e6:g} MB and {pixels:g} megapixels; "
        f"{queue.seconds:g} seconds a call; a result of at most {MAX_RESULT_BYTES / 1e3:g} kB and "
        f"{MAX_RESULT_TOKENS:,} tokens (pictures are made smaller, rows of masks are left out)."
    )


def _link(image: str, name: str, number: int | None = None) -> "types.ResourceLink":
    import mcp_types as types

    kind, description = resources.KINDS[name]
    return types.ResourceLink(
        name=name if number is None else f"mask {number}",
        uri=_uri(image, name.format(number=number)),
        mime_type=kind,
        description=description,
    )


def _uri(image: str, name: str) -> str:
    return f"sam3://{image}/{name}"
