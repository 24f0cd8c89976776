"""What a stranger is told: progress in one line, and errors without a path or key of this host."""

import logging

from sam3_agent.errors import InputError, ModelError, PlannerError, ToolError
from sam3_agent.events import Event, PlannerReplied, ToolFinished, ToolStarted, TurnStarted
from sam3_agent.plugin.work_queue import BusyError, LateError, StoppedError
from sam3_agent.sanitize import one_line

logger = logging.getLogger(__name__)

MAX_LINE = 200


def progress(event: Event) -> str | None:
    """One line for an event of an ask; None for those that say nothing new."""
    match event:
        case TurnStarted():
            return f"turn {event.turn} of {event.max_turns}"
        case ToolStarted():
            return one_line(f"{event.call.name} {event.call.arguments}", MAX_LINE)
        case ToolFinished():
            return one_line(event.message.text, MAX_LINE)
        case PlannerReplied():
            return one_line(event.message.text, MAX_LINE) or None
    return None


def refusal(error: Exception) -> tuple[int, str, str]:
    """The HTTP status, the kind and the sentence for what went wrong.

    The caller's own mistakes are told in full. What a model or this program did wrong goes to the
    log: its words may name hosts, files and accounts.
    """
    if isinstance(error, ToolError | InputError):
        return 422, "input", str(error)
    if isinstance(error, BusyError):
        return 429, "busy", str(error)
    if isinstance(error, LateError | StoppedError):
        return 504, "late", str(error) or "this took too long"
    if isinstance(error, ModelError):
        who = "planner" if isinstance(error, PlannerError) else "segmenter"
        logger.error("the %s failed: %s", who, error)
        return 502, who, f"the {who} failed; the server's log says why"
    logger.error("a bug", exc_info=error)
    return 500, "bug", "something went wrong in the server; its log says what"
