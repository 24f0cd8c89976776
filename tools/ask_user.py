"""The tool that asks the person who asked."""

from collections.abc import Callable

from sam3_agent.errors import ToolError
from sam3_agent.sanitize import replace_surrogates, shorten
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation, Tool

MAX_QUESTION, MAX_REPLY = 300, 4000
"""Characters of a question to the person, and of what the planner hears of the reply."""


def ask_person_tool(ask: Callable[[str], str]) -> Tool:
    """The tool `ask_person` for one question: it passes one on to `ask`.

    Another reading, which has another scene, is told what was said.
    """
    reading: Scene | None = None
    heard = ""

    def ask_person(scene: Scene, question: str) -> Observation:
        """Ask the person one short question, only if two likely readings have different masks:
        "The hand with or without the arm?". Once.
        """
        nonlocal reading, heard
        if reading is scene:
            raise ToolError("the person was asked already; take the likeliest reading and say so")
        if not question.strip() or len(question) > MAX_QUESTION:
            raise ToolError(f"the question must have 1 to {MAX_QUESTION} characters")
        reading = scene
        if heard:
            return Observation(heard)
        question = question.strip()
        reply = shorten(replace_surrogates(ask(question)).strip(), MAX_REPLY, middle=True)
        if not reply:
            heard = "No reply: take the likeliest reading and say which in the answer."
            return Observation(heard)
        heard = f'The person was asked before: "{question}" and said: {reply}'
        return Observation(f"The person says: {reply}")

    return Tool.from_function(ask_person)
