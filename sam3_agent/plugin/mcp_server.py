"""The MCP server: the tools, masks and pictures as resources, and prompts, for any MCP client."""

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sam3_agent import load
from sam3_agent.errors import InputError, ToolError
from sam3_agent.plugin import resources
from sam3_agent.plugin.door import Door, Rules
from sam3_agent.plugin.eyes import Eyes
from sam3_agent.plugin.formats import TOOLS
from sam3_agent.plugin.gate import Gate, Tell
from sam3_agent.plugin.sight import SCHEMA, Sight, picture_file
from sam3_agent.plugin.studies import sweep
from sam3_agent.plugin.words import progress, refusal

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

MAX_LINKS = 40
"""Masks that a result links to one by one; the others are in masks.json."""

PATH = "/mcp"

PROMPTS = {
    "find": "Find something in an image and show it.",
    "count": "Count something in an image.",
    "compare": "Compare things in an image by measuring them.",
}

_URI = re.compile(r"sam3://(img_[0-9a-f]+)/(.+)")


def build(eyes: Eyes, gate: Gate) -> "Server[Any]":
    """The server; requests that come without HTTP belong to the owner of `eyes`."""
    from mcp.server.lowlevel import Server

    @contextlib.asynccontextmanager
    async def lifespan(_: "Server[Any]") -> AsyncIterator[dict[str, Any]]:
        sweeping = asyncio.create_task(sweep(eyes.studies))
        yield {}
        sweeping.cancel()

    desk = _Desk(eyes, gate)
    return Server(
        "sam3-agent",
        title="sam3-agent",
        version=version("sam3-agent"),
        lifespan=lifespan,
        instructions=load.prompt("plugin_instructions"),
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources,
        on_list_resource_templates=desk.list_resource_templates,
        on_read_resource=desk.read_resource,
        on_list_prompts=desk.list_prompts,
        on_get_prompt=desk.get_prompt,
    )


async def serve_stdio(server: "Server[Any]") -> None:
    """Serve one client on stdin and stdout until it closes them."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def http_app(server: "Server[Any]", rules: Rules) -> Door:
    """The server as an ASGI app that speaks streamable HTTP at /mcp."""
    from mcp.server.transport_security import TransportSecuritySettings

    # the door checks hosts and origins for all paths alike
    checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=rules.max_bytes,
        transport_security=checked,
    )
    return Door(app, rules)


class _Desk:
    """Answers the requests of MCP clients."""

    def __init__(self, eyes: Eyes, gate: Gate) -> None:
        self._eyes = eyes
        self._gate = gate

    async def list_tools(self, context: Any, params: Any) -> "types.ListToolsResult":
        import mcp_types as types

        hints = types.ToolAnnotations(read_only_hint=True, destructive_hint=False)
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=dict(tool.parameters),
                    output_schema=SCHEMA,
                    annotations=hints,
                )
                for tool in TOOLS.values()
            ]
        )

    async def call_tool(
        self, context: "ServerRequestContext[Any, Any]", params: "types.CallToolRequestParams"
    ) -> "types.CallToolResult":
        import mcp_types as types

        eyes = self._eyes_of(context)

        def work(tell: Tell) -> Sight:
            tool = TOOLS.get(params.name)
            if tool is None:
                raise ToolError(
                    f"there is no tool {params.name[:80]!r}; the tools are: {', '.join(TOOLS)}"
                )
            given = tool.fitting(params.arguments or {})
            sight: Sight = getattr(replace(eyes, watch=tell), tool.name)(**given)
            return sight

        try:
            steps = 0
            async with contextlib.aclosing(self._gate.stream(work)) as stream:
                async for step in stream:
                    if isinstance(step, Sight):
                        return _result(step)
                    line = progress(step)
                    if line is not None:
                        steps += 1
                        await context.session.report_progress(steps, None, line)
        except Exception as error:
            _, _, told = refusal(error)
            text = types.TextContent(text=told)
            return types.CallToolResult(content=[text], is_error=True)
        raise AssertionError("work ends with a sight")

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

        eyes, uri = self._eyes_of(context), str(params.uri)

        def work(_: Tell) -> tuple[bytes, str]:
            found = _URI.fullmatch(uri)
            if found is None:
                raise InputError(f"a resource looks like {_uri('{image}', 'overlay.jpg')}")
            return resources.read(eyes, found[1], found[2])

        try:
            content, kind = await self._gate.run(work)
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
        text = types.TextContent(text=load.prompt(f"plugin_{params.name}", **given))
        return types.GetPromptResult(
            description=PROMPTS[params.name],
            messages=[types.PromptMessage(role="user", content=text)],
        )

    def _eyes_of(self, context: "ServerRequestContext[Any, Any]") -> Eyes:
        """The eyes of whoever sent this request.

        Over HTTP a session is what the handshake of the older protocols began; its id was checked
        by the transport. The protocol of 2026-07-28 has no sessions: there a handle is all.
        """
        from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

        if context.request is None:
            return self._eyes
        session = None
        if context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            session = context.request.headers.get("mcp-session-id")
        return replace(self._eyes, owner=session and f"mcp {session}")


def _result(sight: Sight) -> "types.CallToolResult":
    """A sight as words, a picture, links to masks, and values."""
    import mcp_types as types

    content: list[Any] = [types.TextContent(text=str(sight))]
    if sight.picture is not None:
        data = base64.b64encode(picture_file(sight.picture)).decode("ascii")
        content.append(types.ImageContent(data=data, mime_type="image/jpeg"))
    if sight.masks:
        content.append(_link(sight.image, "masks.json"))
    content += [_link(sight.image, "masks/{number}.png", m.number) for m in sight.masks[:MAX_LINKS]]
    return types.CallToolResult(content=content, structured_content=sight.to_dict())


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
