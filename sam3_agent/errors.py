"""The errors a caller can meet.

    Exception
    ├── ToolError            what a planner did wrong; it goes back to the planner as text
    └── Sam3AgentError       what a caller must know; the cause is attached
        ├── InputError       bad usage or input: exit code 2
        │   ├── ImageError   a picture that cannot be read, or is too large
        │   └── PromptError  a concept prompt or place that the segmenter cannot take
        ├── StoppedError     the caller has stopped the question; no model was called after that
        └── ModelError       a model that cannot be used: exit code 3
            ├── PlannerError
            │   └── DeadlineError   no time is left; the agent ends the run with the best so far
            └── SegmenterError

Anything else that is raised is a bug, and is not caught.
"""

from sam3_agent.usage import TokenUsage, Usage


class ToolError(Exception):
    """A tool call that cannot be run as written; the message says what is accepted instead."""


class Sam3AgentError(Exception):
    """The root of every error that this package raises to its caller.

    usage: what the question had cost until then; None where no question was being answered.
    """

    usage: Usage | None = None


class InputError(Sam3AgentError):
    """Input that cannot be used; the message says what was wrong and what to do."""


class ImageError(InputError):
    """A picture that cannot be read, or exceeds the pixel limit."""


class PromptError(InputError):
    """A phrase, box or point that a segmenter cannot take."""


class StoppedError(Sam3AgentError):
    """The caller has stopped the question, see `budget.stop_requested`.

    spent: what a planner had sent for the reply that was not waited for.
    """

    spent = TokenUsage()


class ModelError(Sam3AgentError):
    """A model that cannot be loaded or does not answer."""


class PlannerError(ModelError):
    """The planner cannot go on; its cause is attached.

    tries: requests that failed. spent: what these cost, and replies that cannot be used; when it is
        not given, the tries are all that is known of it.
    """

    def __init__(self, message: str, tries: int = 0, spent: TokenUsage | None = None) -> None:
        super().__init__(message)
        self.tries = tries
        self.spent = TokenUsage(retries=tries) if spent is None else spent


class DeadlineError(PlannerError):
    """The time of the question is over before the planner can reply."""


class SegmenterError(ModelError):
    """The segmenter cannot be loaded or run; its cause is attached."""
