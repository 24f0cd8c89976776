"""The REST server: every tool as a POST, pictures and masks as files, health and metrics."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sam3_agent.errors import InputError, ToolError
from sam3_agent.extras import require
from sam3_agent.plugin import resources
from sam3_agent.plugin.error_responses import progress, refusal
from sam3_agent.plugin.metrics import Metrics
from sam3_agent.plugin.middleware import AccessMiddleware, Rules, failure
from sam3_agent.plugin.openapi import FILES, IMAGE, OPENED, RESULT, described, failures
from sam3_agent.plugin.provider_schemas import TOOLS
from sam3_agent.plugin.result import ToolResult
from sam3_agent.plugin.sessions import sweep
from sam3_agent.plugin.toolkit import Toolkit, public_name
from sam3_agent.plugin.work_queue import Tell, WorkQueue
from sam3_agent.sanitize import shorten
from sam3_agent.tool import Tool, read_json

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

PATHS = {"ask_image": "/ask"}
"""Where a tool is found, if not under its name."""


def app(toolkit: Toolkit, queue: WorkQueue, rules: Rules) -> AccessMiddleware:
    """The server as an ASGI app; its callers have no sessions, only the handles of their images."""
    return AccessMiddleware(build(replace(toolkit, owner=None), queue), rules)


def build(toolkit: Toolkit, queue: WorkQueue) -> "FastAPI":
    """The app behind the door."""
    require("fastapi", "starlette", "python_multipart", purpose="the REST server")
    from fastapi import FastAPI
    from starlette.exceptions import HTTPException
    from starlette.responses import PlainTextResponse

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(sweep(toolkit.sessions))
        yield
        sweeping.cancel()
        await asyncio.to_thread(queue.close)

    made = FastAPI(
        title="sam3-agent",
        version=version("sam3-agent"),
        description="Ask pictures questions; get words and pixel-exact masks.",
        lifespan=lifespan,
        redoc_url=None,
    )
    handlers = _Handlers(toolkit, queue)
    made.add_exception_handler(HTTPException, handlers.refused)
    for tool in TOOLS.values():
        path = PATHS.get(tool.name, f"/{tool.name}")
        made.add_api_route(
            path,
            handlers.counted(path, handlers.tool(tool)),
            methods=["POST"],
            name=tool.name,
            summary=tool.description.splitlines()[0],
            openapi_extra=described(tool, streamed=tool.name in PATHS),
            responses={200: RESULT, **failures(400, 408, 413, 415, 422, 429, 500, 502, 504)},
        )
    made.add_api_route(
        "/images",
        handlers.counted("/images", handlers.open),
        methods=["POST"],
        summary="Open an image; its handle stands for it in all other calls.",
        openapi_extra=IMAGE,
        responses={200: OPENED, **failures(400, 408, 413, 415, 422, 429, 500, 504)},
    )
    made.add_api_route(
        "/images/{handle}/{name:path}",
        handlers.counted("/images/{handle}", handlers.file),
        methods=["GET"],
        summary="A picture, mask or conversation of an image.",
        responses={200: FILES, **failures(404, 422, 429, 500, 504)},
    )
    made.add_api_route(
        "/health", handlers.health, methods=["GET"], summary="Whether the server runs."
    )
    made.add_api_route(
        "/metrics",
        handlers.metrics,
        methods=["GET"],
        summary="Counters and gauges for Prometheus.",
        response_class=PlainTextResponse,
    )
    return made


class _Handlers:
    """Answers the requests."""

    def __init__(self, toolkit: Toolkit, queue: WorkQueue) -> None:
        self._toolkit = toolkit
        self._queue = queue
        self._metrics = Metrics()

    def counted(
        self, route: str, answer: "Callable[..., Awaitable[Response]]"
    ) -> "Callable[..., Awaitable[Response]]":
        """The endpoint, with its errors as proper answers, counted by route and status."""
        from starlette.exceptions import HTTPException
        from starlette.requests import Request
        from starlette.responses import Response

        async def endpoint(request: Request) -> Response:
            began, status = time.monotonic(), 500
            try:
                response = await answer(request)
                status = response.status_code
                return response
            except HTTPException as error:
                status = error.status_code
                raise
            except Exception as error:
                response = _refused(error)
                status = response.status_code
                return response
            finally:
                self._metrics.count(route, status, time.monotonic() - began)

        return endpoint

    def tool(self, tool: Tool) -> "Callable[[Request], Awaitable[Response]]":
        """The endpoint of a tool: JSON in, or a form with a file; JSON out, or events."""
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response, StreamingResponse

        async def answer(request: Request) -> Response:
            given = await self._given(request)
            stream = self._queue.stream(lambda tell: self._run(tool, given, tell))
            if "text/event-stream" in request.headers.get("accept", ""):
                first = await anext(stream)  # what is refused at once has its own status
                return StreamingResponse(_events(first, stream), media_type="text/event-stream")
            async with contextlib.aclosing(stream):
                async for step in stream:
                    if isinstance(step, dict):
                        return JSONResponse(step)
                    if await request.is_disconnected():
                        break
            return Response(status_code=499)

        return answer

    async def open(self, request: "Request") -> "Response":
        """Open an image without asking anything."""
        from starlette.responses import JSONResponse

        given = await self._given(request)

        def work(_: Tell) -> dict[str, Any]:
            values = _values(given)
            if set(values) != {"image"} or not isinstance(values["image"], str | bytes):
                raise InputError('give {"image": "an https URL or a data URI"}, or a file')
            session = self._toolkit.session(values["image"])
            scene = session.scene
            return {"image": session.handle, "width": scene.width, "height": scene.height}

        return JSONResponse(await self._queue.run(work))

    async def file(self, request: "Request") -> "Response":
        """A picture, mask or conversation."""
        from starlette.responses import Response

        handle, name = request.path_params["handle"], request.path_params["name"]
        try:
            content, kind = await self._queue.run(
                lambda _: resources.read(self._toolkit, handle, name)
            )
        except InputError as error:
            return _failed(404, "input", str(error))
        headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=kind, headers=headers)

    async def health(self) -> dict[str, str]:
        """Whether the server runs, and with which models."""
        agent = self._toolkit.agent
        names = {"planner": agent.planner.name, "segmenter": agent.segmenter.name}
        return {"status": "ok", **{part: public_name(name) for part, name in names.items()}}

    async def metrics(self) -> Any:
        """Counters and gauges."""
        from starlette.responses import PlainTextResponse

        queue, sessions = self._queue, self._toolkit.sessions
        text = self._metrics.text(
            running=min(queue.inside, queue.running),
            waiting=max(0, queue.inside - queue.running),
            images=len(sessions),
            image_bytes=sessions.weight(),
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def refused(self, request: Any, error: Any) -> Any:
        """What the framework refuses, in the form of all refusals."""
        response = _failed(error.status_code, "http", str(error.detail))
        response.headers.update(error.headers or {})
        return response

    async def _given(self, request: "Request") -> "bytes | dict[str, Any]":
        """The body: raw JSON, or the fields of a form whose `image` is the content of a file."""
        from starlette.exceptions import HTTPException

        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            return await request.body()
        if kind != "multipart/form-data":
            raise HTTPException(415, "send application/json or multipart/form-data")
        async with request.form(max_files=1, max_fields=20) as form:
            values: dict[str, Any] = {}
            for name, value in form.multi_items():
                if name in values:
                    raise HTTPException(422, f"the field {shorten(name, 80)!r} comes twice")
                values[name] = value if isinstance(value, str) else await value.read()
            return values

    def _run(self, tool: Tool, given: "bytes | dict[str, Any]", tell: Tell) -> dict[str, Any]:
        """Run a tool; the result as JSON values, with the masks as COCO RLE."""
        toolkit = replace(self._toolkit, watch=tell)
        values = _values(given)
        if isinstance(values.get("image"), bytes):
            values["image"] = toolkit.session(values["image"]).handle
        result: ToolResult = getattr(toolkit, tool.name)(**tool.fitting(values))
        return result.to_dict(segmentations=True)


def _values(given: "bytes | dict[str, Any]") -> dict[str, Any]:
    """The arguments in a body; in a form, what is no text is written as text."""
    if isinstance(given, dict):
        return given
    try:
        values = read_json(given.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ToolError("the body is not valid JSON") from error
    if not isinstance(values, dict):
        raise ToolError("the body must be a JSON object")
    return values


async def _events(first: Any, rest: AsyncGenerator[Any, None]) -> AsyncIterator[str]:
    """Server-sent events: `progress` lines, then one `result` or `error`."""
    async with contextlib.aclosing(rest):
        step = first
        try:
            while not isinstance(step, dict):
                line = progress(step)
                if line is not None:
                    yield _event("progress", {"text": line})
                step = await anext(rest)
            yield _event("result", step)
        except Exception as error:
            _, kind, told = refusal(error)
            yield _event("error", failure(kind, told))


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _refused(error: Exception) -> "Response":
    status, kind, told = refusal(error)
    response = _failed(status, kind, told)
    if status == 429:
        response.headers["Retry-After"] = str(getattr(error, "retry_after", 5))
    return response


def _failed(status: int, kind: str, told: str) -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(failure(kind, told), status_code=status)
