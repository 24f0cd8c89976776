"""The MCP server: tools, resources (masks and pictures) and prompts, for any MCP client."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.errors import InputError, Sam3AgentError
from sam3_agent.extras import require
from sam3_agent.plugin import mcp_content, resources
from sam3_agent.plugin.error_responses import CallError, call_errors
from sam3_agent.plugin.loading import LoadingToolkit
from sam3_agent.plugin.mcp_content import ContentOptions
from sam3_agent.plugin.mcp_sessions import IDLE_SECONDS, MAX_SESSIONS, SessionLimiter, owner_of
from sam3_agent.plugin.middleware import AccessMiddleware, AccessRules
from sam3_agent.plugin.result import output_schema
from sam3_agent.plugin.result_size import fit_text
from sam3_agent.plugin.sessions import Sessions, sweep
from sam3_agent.plugin.tool_calls import TOOLS, stream_tool
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.plugin.work_queue import Report, WorkQueue

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

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

_URI = re.compile(r"sam3://(img_[0-9a-f]+)/(.+)")


def build(
    toolkit: Toolkit | LoadingToolkit,
    queue: WorkQueue,
    content: ContentOptions = ContentOptions(),  # noqa: B008
    shared_handles: bool = False,
) -> "Server[Any]":
    """The server; requests that come without HTTP belong to the owner of `toolkit`.

    While its models are loaded only calls of tools and reads of resources wait for them: several
    clients give the handshake and the list of tools five seconds.

    shared_handles: over HTTP a handle serves whoever has it, also after its session.
    """
    require("mcp", "mcp_types", "starlette", extra="mcp", purpose="the MCP server")
    from mcp.server.lowlevel import Server

    @contextlib.asynccontextmanager
    async def lifespan(_: "Server[Any]") -> AsyncIterator[dict[str, Any]]:
        sweeping = asyncio.create_task(handlers.sweep())
        yield {}
        sweeping.cancel()

    handlers = _Handlers(toolkit, queue, content, shared_handles)
    return Server(
        "sam3-agent",
        title="sam3-agent",
        version=version("sam3-agent"),
        lifespan=lifespan,
        instructions=registry.prompt("mcp_instructions"),
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_resource_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
    )


def http_app(
    server: "Server[Any]",
    rules: AccessRules,
    images: Sessions | None = None,
    max_sessions: int = MAX_SESSIONS,
) -> AccessMiddleware:
    """The server as an ASGI app that speaks streamable HTTP at /mcp.

    images: those of its toolkit; a session that ends drops its own.
    """
    from mcp.server.transport_security import TransportSecuritySettings

    # AccessMiddleware checks hosts and origins for all paths alike
    checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=rules.max_bytes,
        transport_security=checked,
        session_idle_timeout=IDLE_SECONDS,
        # SessionLimiter closes sessions before this many are open
        max_sessions=max_sessions + rules.requests,
    )

    def closed(session: str) -> None:
        if images is not None:
            images.drop_owner(owner_of(session))

    return AccessMiddleware(SessionLimiter(app, PATH, closed, max_sessions), rules)


class _Handlers:
    """Answers the requests of MCP clients."""

    def __init__(
        self,
        toolkit: Toolkit | LoadingToolkit,
        queue: WorkQueue,
        content: ContentOptions,
        shared_handles: bool,
    ) -> None:
        self._toolkit = toolkit
        self._queue = queue
        self._content = content
        self._shared_handles = shared_handles

    async def sweep(self) -> None:
        """Drop images that are not used any more, until cancelled."""
        with contextlib.suppress(Sam3AgentError):  # without models there are no images
            await sweep((await self._ready()).sessions)

    async def list_tools(
        self, context: "ServerRequestContext[Any, Any]", params: Any
    ) -> "types.ListToolsResult":
        import mcp_types as types

        # clients reject a result without structured content from a tool that declares a schema
        schema = output_schema() if self._sends_structured(context) else None
        limits = mcp_content.limits_text(self._toolkit.loader, self._queue, self._agent())
        tools = [
            mcp_content.tool_description(tool, limits, schema)
            for tool in TOOLS.values()
            if tool.name != "look" or self._content.pictures != "off"  # it has nothing but pictures
        ]
        return types.ListToolsResult(tools=tools)

    async def call_tool(
        self, context: "ServerRequestContext[Any, Any]", params: "types.CallToolRequestParams"
    ) -> "types.CallToolResult":
        import mcp_types as types

        content = replace(self._content, structured=self._sends_structured(context))
        try:
            with call_errors():
                toolkit = await self._toolkit_of(context)
            steps = stream_tool(
                self._queue,
                toolkit,
                params.name,
                lambda: mcp_content.arguments_with_url(params.arguments or {}),
                lambda result: mcp_content.result_content(result, content),
            )
            async with contextlib.aclosing(steps):
                count = 0
                async for step in steps:
                    if not isinstance(step, str):
                        return step
                    count += 1
                    await context.session.report_progress(count, None, step)
        except CallError as error:
            text = types.TextContent(text=fit_text(str(error)))
            return types.CallToolResult(content=[text], is_error=True)
        raise AssertionError("a stream ends with a result")

    async def list_resources(self, context: Any, params: Any) -> "types.ListResourcesResult":
        import mcp_types as types

        # handles are secrets: a client knows its own from the results
        return types.ListResourcesResult(resources=[])

    async def list_resource_templates(
        self, context: Any, params: Any
    ) -> "types.ListResourceTemplatesResult":
        import mcp_types as types

        return types.ListResourceTemplatesResult(
            resource_templates=mcp_content.resource_templates()
        )

    async def read_resource(
        self, context: "ServerRequestContext[Any, Any]", params: "types.ReadResourceRequestParams"
    ) -> "types.ReadResourceResult":
        import mcp_types as types
        from mcp.shared.exceptions import MCPError

        uri = str(params.uri)

        def work(_: Report) -> tuple[bytes, str]:
            found = _URI.fullmatch(uri)
            if found is None:
                example = mcp_content.resource_uri("{image}", "overlay.jpg")
                raise InputError(f"a resource looks like {example}")
            return resources.read(toolkit, found[1], found[2])

        try:
            with call_errors():
                toolkit = await self._toolkit_of(context)
                content, kind = await self._queue.run(work)
        except CallError as error:
            code = types.INVALID_PARAMS if error.status == 422 else types.INTERNAL_ERROR
            raise MCPError(code=code, message=str(error)) from error
        return mcp_content.resource_content(uri, content, kind)

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
            message = f"the prompts are {', '.join(PROMPTS)}, each with image and what"
            raise MCPError(code=types.INVALID_PARAMS, message=message)
        text = types.TextContent(text=registry.prompt(f"mcp_{params.name}", **given))
        return types.GetPromptResult(
            description=PROMPTS[params.name],
            messages=[types.PromptMessage(role="user", content=text)],
        )

    def _sends_structured(self, context: "ServerRequestContext[Any, Any]") -> bool:
        """Whether a client gets structured content: when asked for, or if known to show it."""
        client = context.session.client_params
        return self._content.structured or (
            client is not None and client.client_info.name in STRUCTURED_CLIENTS
        )

    def _agent(self) -> Agent | None:
        """The agent; None while its models are loaded."""
        toolkit = self._toolkit
        if isinstance(toolkit, LoadingToolkit):
            if not toolkit.loaded.done():
                return None
            toolkit = toolkit.loaded.result()
        return toolkit.agent

    async def _ready(self) -> Toolkit:
        """The toolkit, once its models are there."""
        if isinstance(self._toolkit, LoadingToolkit):
            return await self._toolkit.ready()
        return self._toolkit

    async def _toolkit_of(self, context: "ServerRequestContext[Any, Any]") -> Toolkit:
        """The toolkit with the client of this request as the owner of images.

        Over HTTP the older protocols begin a session with a handshake; the transport has checked
        its id. The protocol of 2026-07-28 has no sessions: its clients have only handles.
        """
        from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

        toolkit = await self._ready()
        if context.request is None:
            return toolkit
        session = None
        if not self._shared_handles and context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            session = context.request.headers.get("mcp-session-id")
        return replace(toolkit, owner=session and owner_of(session))
