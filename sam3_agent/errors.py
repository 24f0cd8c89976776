"""The errors a caller can meet.

    Exception
    ├── ToolError            what a planner did wrong; it goes back to the planner as text
    └── Sam3AgentError       what a caller must know; the cause is attached
        ├── InputError       bad usage or input: exit code 2
        │   ├── ImageError   a picture that cannot be read, or is too large
        │   └── PromptError  a concept prompt or place that the segmenter cannot take
        └── ModelError       a model that cannot be used: exit code 3
            ├── PlannerError
            │   └── DeadlineError   no time is left; the agent ends the run with the best so far
            └── SegmenterError

Anything else that is raised is a bug and flies.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam3_agent.usage import TokenUsage, Usage


class ToolError(Exception):
    """A tool call that cannot be run as written; the message says what is accepted instead."""


class Sam3AgentError(Exception):
    """The root of every error that this package raises to its caller.

    usage: what the question had cost until then; None where no question was being answered.
    """

    usage: "Usage | None" = None


class InputError(Sam3AgentError):
    """Input that cannot be used; the message says what was wrong and what to do."""


class ImageError(InputError):
    """A picture that cannot be read, or exceeds the pixel limit."""


class PromptError(InputError):
    """A phrase, box or point that a segmenter cannot take."""


class ModelError(Sam3AgentError):
    """A model that cannot be loaded or does not answer."""


class PlannerError(ModelError):
    """The planner cannot go on; its cause is attached.

    tries: requests that were sent in vain. spent: what they cost, and answers that cannot be used;
        None when no more than the tries is known.
    """

    def __init__(self, message: str, tries: int = 0, spent: "TokenUsage | None" = None) -> None:
        super().__init__(message)
        self.tries = tries
        self.spent = spent


class DeadlineError(PlannerError):
    """A planner that would have to go on after the time of the question is over."""


class SegmenterError(ModelError):
    """The segmenter cannot be loaded or run; its cause is attached."""
