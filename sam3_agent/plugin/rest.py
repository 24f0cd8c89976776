"""The REST server: every tool as a POST, images and masks as files, health and metrics."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from sam3_agent.errors import InputError
from sam3_agent.extras import require
from sam3_agent.plugin import openapi, resources
from sam3_agent.plugin.answer_record import public_name
from sam3_agent.plugin.error_responses import (
    CallError,
    call_errors,
    error_body,
    error_response,
    to_call_error,
)
from sam3_agent.plugin.metrics import Metrics, MetricsMiddleware
from sam3_agent.plugin.middleware import CLIENT_LEFT, AccessMiddleware, AccessRules
from sam3_agent.plugin.openapi import EVENTS
from sam3_agent.plugin.request_body import RequestBody, body_reader
from sam3_agent.plugin.result import ToolResult
from sam3_agent.plugin.sessions import sweep
from sam3_agent.plugin.tool_calls import TOOLS, stream_tool
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.plugin.work_queue import Report, WorkQueue
from sam3_agent.tool import Tool
from sam3_agent.tool_schema import json_schema

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

PATHS = {"ask_image": "/ask"}
"""The path of a tool that is not its name."""

FILES = "/images/{handle}/{name}"
"""The path of all files about an image."""

EVENT_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""They keep proxies from storing, compressing or holding back events."""

HEARTBEAT = ": waiting\n\n"
"""A comment, for proxies that close a connection on which nothing comes."""

HEARTBEAT_SECONDS = 15.0


class ImageToOpen(BaseModel):
    """An image by URL or data URI."""

    model_config = ConfigDict(extra="forbid")

    image: str


class OpenedImage(BaseModel):
    """The handle of an open image, and its size in pixels."""

    image: str
    width: int
    height: int


class Health(BaseModel):
    """That the server runs, and with which models."""

    status: Literal["ok"] = "ok"
    planner: str
    segmenter: str


def app(
    toolkit: Toolkit,
    queue: WorkQueue,
    rules: AccessRules,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> AccessMiddleware:
    """The server as an ASGI app; its callers have only the handles of their images."""
    return AccessMiddleware(build(replace(toolkit, owner=None), queue, heartbeat_seconds), rules)


def build(
    toolkit: Toolkit, queue: WorkQueue, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> "FastAPI":
    """The app without access rules."""
    require(
        "fastapi", "starlette", "python_multipart", "prometheus_client", purpose="the REST server"
    )
    from fastapi import FastAPI
    from starlette.exceptions import HTTPException

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(sweep(toolkit.sessions))
        yield
        sweeping.cancel()
        queue.close()

    made = FastAPI(
        title="sam3-agent",
        version=version("sam3-agent"),
        description=openapi.ABOUT,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        redoc_url=None,
    )
    metrics = Metrics(queue, toolkit.sessions)
    uncounted = frozenset({"/health", "/metrics"})
    made.add_middleware(MetricsMiddleware, metrics=metrics, uncounted=uncounted)
    made.add_exception_handler(HTTPException, _http_error)
    made.add_exception_handler(CallError, _call_error)
    made.add_exception_handler(Exception, _call_error)
    for tool in TOOLS.values():
        _add_tool(made, tool, toolkit, queue, heartbeat_seconds)
    _add_images(made, toolkit, queue)
    _add_status(made, toolkit, metrics)
    described = made.openapi
    made.openapi = lambda: openapi.with_files(described(), FILES)  # type: ignore[method-assign]
    return made


def _add_tool(
    app: "FastAPI", tool: Tool, toolkit: Toolkit, queue: WorkQueue, heartbeat_seconds: float
) -> None:
    """The route of a tool: JSON in, or a form with a file; JSON out, or events."""
    from fastapi import Depends, Request
    from starlette.responses import StreamingResponse

    read_body = body_reader(tool.parameters)
    streamed = " Ask for text/event-stream to get progress as events."

    @app.post(
        PATHS.get(tool.name, f"/{tool.name}"),
        name=tool.name,
        summary=tool.description.splitlines()[0],
        description=tool.description + streamed * (tool.name in PATHS),
        response_model=ToolResult,
        responses=openapi.tool_responses(tool.name in PATHS, 408, 415, 422, 500, 502, 503, 504),
        openapi_extra=openapi.body(tool.name, tool.parameters),
    )
    async def call(request: Request, body: Annotated[RequestBody, Depends(read_body)]) -> Any:
        steps = stream_tool(queue, toolkit, tool.name, body.values, lambda result: result)
        if EVENTS in request.headers.get("accept", ""):
            first = asyncio.ensure_future(anext(steps))
            await asyncio.wait({first}, timeout=heartbeat_seconds)
            if first.done():
                first.result()  # what is rejected at once has its own status
            events = _events(first, steps, heartbeat_seconds)
            return StreamingResponse(events, media_type=EVENTS, headers=EVENT_HEADERS)
        return await _unless_left(request, _last(steps))


def _add_images(app: "FastAPI", toolkit: Toolkit, queue: WorkQueue) -> None:
    """The routes that open an image and that return files about it."""
    from fastapi import Depends, Request
    from starlette.responses import Response

    schema = json_schema(ImageToOpen)

    @app.post(
        "/images",
        summary="Open an image; its handle stands for it in all other calls.",
        response_model=OpenedImage,
        responses=openapi.responses(
            {"image": openapi.HANDLE, "width": 640, "height": 480}, 408, 415, 422, 500, 503, 504
        ),
        openapi_extra=openapi.body("open_image", schema),
    )
    async def open_image(
        request: Request, body: Annotated[RequestBody, Depends(body_reader(schema))]
    ) -> Any:
        def work(_: Report) -> OpenedImage:
            values = body.values()
            if set(values) != {"image"} or not isinstance(values["image"], str | bytes):
                raise InputError('give {"image": "an https URL or a data URI"}, or a file')
            session = toolkit.session(values["image"])
            scene = session.scene
            return OpenedImage(image=session.handle, width=scene.width, height=scene.height)

        with call_errors():
            return await _unless_left(request, queue.run(work))

    @app.get(
        FILES.replace("name", "name:path"),
        response_class=Response,
    )
    async def read_file(request: Request, handle: str, name: str) -> Response:
        headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}

        def work(_: Report) -> Response:
            content, kind = resources.read(toolkit, handle, name)
            return Response(content, media_type=kind, headers=headers)

        with call_errors():
            try:
                response: Response = await _unless_left(request, queue.run(work))
            except InputError as error:
                raise CallError(404, "input", str(error)) from error
        return response


def _add_status(app: "FastAPI", toolkit: Toolkit, metrics: Metrics) -> None:
    """The routes for those who run the server."""
    from starlette.responses import PlainTextResponse

    agent = toolkit.agent

    @app.get(
        "/health",
        summary="Whether the server runs, and with which models.",
        responses=openapi.responses(
            {"status": "ok", "planner": "offline", "segmenter": "facebook/sam3"}, 503
        ),
    )
    async def health() -> Health:
        return Health(
            planner=public_name(agent.planner.name), segmenter=public_name(agent.segmenter.name)
        )

    @app.get(
        "/metrics",
        summary="Counters and gauges for Prometheus.",
        response_class=PlainTextResponse,
        responses=openapi.errors(),
    )
    async def read_metrics() -> PlainTextResponse:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")


async def _last(steps: AsyncGenerator[Any, None]) -> Any:
    """The last of these steps, the result of a call."""
    async with contextlib.aclosing(steps):
        *_, last = [step async for step in steps]
    return last


async def _unless_left(request: "Request", work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` returns; it is cancelled, with the status CLIENT_LEFT, when the client leaves."""
    from starlette.responses import Response

    async def leaving() -> None:
        # the body has been read: nothing else comes
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, left = asyncio.ensure_future(work), asyncio.ensure_future(leaving())
    try:
        await asyncio.wait({working, left}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return Response(status_code=CLIENT_LEFT)
    finally:
        for task in (working, left):
            task.cancel()
        await asyncio.wait({working, left})


async def _http_error(_: Any, error: Any) -> Any:
    return error_response(error.status_code, "http", str(error.detail), error.headers)


async def _call_error(_: Any, error: Exception) -> Any:
    error = to_call_error(error)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return error_response(error.status, error.kind, str(error), headers)


async def _events(
    step: "asyncio.Future[str | ToolResult]",
    rest: AsyncGenerator[str | ToolResult, None],
    heartbeat_seconds: float,
) -> AsyncIterator[str]:
    """Server-sent events: `progress` lines and comments, then one `result` or `error`."""
    from anyio import CancelScope

    async with contextlib.aclosing(rest):
        try:
            while True:
                if not (await asyncio.wait({step}, timeout=heartbeat_seconds))[0]:
                    yield HEARTBEAT
                    continue
                value = step.result()
                if isinstance(value, ToolResult):
                    yield _event("result", value.to_dict(segmentations=True))
                    return
                yield _event("progress", {"text": value})
                step = asyncio.ensure_future(anext(rest))
        except CallError as error:
            yield _event("error", error_body(error.kind, str(error)))
        finally:
            step.cancel()
            # `rest` cannot be closed while it runs; when the client has left, starlette cancels
            # whatever waits, again and again
            with CancelScope(shield=True):
                await asyncio.wait({step})


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
