"""Error responses for untrusted callers: without paths, hosts or keys of this machine."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from sam3_agent.errors import InputError, ModelError, PlannerError, StoppedError, ToolError
from sam3_agent.plugin.work_queue import (
    AbandonedError,
    BusyError,
    CallTimeoutError,
    ClosedError,
)

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

logger = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong: a kind for programs, a sentence for people and models."""

    kind: str
    message: str


class ErrorBody(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


class CallError(Exception):
    """A call failed; the message may be shown to its caller.

    status: of HTTP. kind: as in ErrorDetail. retry_after: seconds, where trying again may help.
    """

    def __init__(
        self, status: int, kind: str, message: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


@contextlib.contextmanager
def call_errors() -> Iterator[None]:
    """Raises every exception as a CallError."""
    try:
        yield
    except CallError:
        raise
    except Exception as error:
        raise to_call_error(error) from error


def to_call_error(error: Exception) -> CallError:
    """The error that a caller gets for an exception.

    The caller's own mistakes are reported in full. What a model or this program did wrong is
    logged instead: its message may name hosts, files and accounts.
    """
    if isinstance(error, CallError):
        return error
    if isinstance(error, ToolError | InputError):
        return CallError(422, "input", str(error))
    if isinstance(error, BusyError):
        return CallError(429, "busy", str(error), error.retry_after)
    if isinstance(error, ClosedError):
        return CallError(503, "closing", str(error))
    if isinstance(error, CallTimeoutError | AbandonedError | StoppedError):
        return CallError(504, "late", str(error) or "this took too long")
    if isinstance(error, ModelError):
        which = "planner" if isinstance(error, PlannerError) else "segmenter"
        logger.error("the %s failed: %s", which, error)
        return CallError(502, which, f"the {which} failed; the server's log says why")
    logger.error("a bug", exc_info=error)
    return CallError(500, "bug", "something went wrong in the server; its log says what")


def error_body(kind: str, message: str) -> dict[str, dict[str, str]]:
    """An ErrorBody as JSON values."""
    return ErrorBody(error=ErrorDetail(kind=kind, message=message)).model_dump()


def error_response(
    status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> "JSONResponse":
    """The HTTP response of an error."""
    from starlette.responses import JSONResponse

    return JSONResponse(error_body(kind, message), status, headers)
