"""The tool that asks the person who asked."""

from collections.abc import Callable

from sam3_agent.errors import ToolError
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation, Tool

MAX_QUESTION = 300
"""Characters of a question to the person."""


def ask_person_tool(ask: Callable[[str], str]) -> Tool:
    """The tool `ask_person` for one run: it passes one question on to `ask`."""
    asked = False

    def ask_person(scene: Scene, question: str) -> Observation:
        """Ask the person one short question, only if two likely readings have different masks:
        "The hand with or without the arm?". Once.
        """
        nonlocal asked
        if asked:
            raise ToolError("the person was asked already; take the likeliest reading and say so")
        if not question.strip() or len(question) > MAX_QUESTION:
            raise ToolError(f"the question must have 1 to {MAX_QUESTION} characters")
        asked = True
        reply = ask(question.strip()).strip()
        if not reply:
            return Observation("No reply: take the likeliest reading and say which in the answer.")
        return Observation(f"The person says: {reply}")

    return Tool.from_function(ask_person)
