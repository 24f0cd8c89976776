"""The tool with which a planner asks the person who asked."""

from collections.abc import Callable
from typing import Annotated

from sam3_agent.errors import InputError, ToolError
from sam3_agent.sanitize import replace_surrogates, shorten
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation, Tool

MAX_QUESTION, MAX_REPLY = 300, 4000
"""Characters of a question, and of the reply to it that are passed on."""


def ask_person_tool(ask: Callable[[str], str]) -> Tool:
    """The tool `ask_person` for one task: it passes one question on to `ask`.

    A second reading of the task, which has another scene, gets the reply to the first question.
    """
    from pydantic import Field  # slow to import, and this tool is seldom offered

    asked_in: Scene | None = None
    known = ""

    def ask_person(
        scene: Scene, question: Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
    ) -> Observation:
        """Ask the person one short question, only if two likely readings have different masks:
        "The hand with or without the arm?". Once.
        """
        nonlocal asked_in, known
        if asked_in is scene:
            raise ToolError("the person was asked already; take the likeliest reading and say so")
        question = question.strip()
        if not question:
            raise ToolError("the question is empty")
        asked_in = scene
        if known:
            return Observation(known)
        reply = ask(question)
        if not isinstance(reply, str):
            raise InputError(f"ask_person returned {type(reply).__name__}, not text")
        reply = shorten(replace_surrogates(reply).strip(), MAX_REPLY, middle=True)
        if not reply:
            known = "No reply: take the likeliest reading and say which in the answer."
            return Observation(known)
        known = f'The person was asked before: "{question}" and said: {reply}'
        return Observation(f"The person says: {reply}")

    return Tool.from_function(ask_person)
