"""A task: a question about a scene, with the conversation before it."""

from dataclasses import dataclass

from sam3_agent.errors import InputError
from sam3_agent.messages import Message
from sam3_agent.observations import UserQuestion
from sam3_agent.sanitize import replace_surrogates, visible_text
from sam3_agent.scene import Scene

MAX_QUERY_CHARACTERS = 4000
"""A question longer than this is refused: it would crowd out the conversation."""


@dataclass(frozen=True)
class Task:
    """A question about a scene.

    history: the messages of the earlier questions of a chat. context: its earlier questions and
    answers in words, for a reviewer.
    """

    scene: Scene
    query: str
    history: tuple[Message, ...] = ()
    context: str = ""

    def messages(self, system_prompt: str) -> list[Message]:
        """The conversation up to the question; the first question shows the image."""
        pictures = () if self.history else (self.scene.image,)
        about = UserQuestion(self.scene.vocabulary)
        before = self.history or (Message("system", system_prompt),)
        return [*before, Message("user", self.query, pictures, question=about)]


def checked_query(query: str) -> str:
    """The question without spaces around it and characters that show nothing; InputError."""
    if not isinstance(query, str):
        raise InputError(f"the question is {query!r:.80}, not text")
    text = visible_text(replace_surrogates(query)).strip()
    if not text:
        raise InputError("the question is empty; ask something such as 'the leftmost red car'")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InputError(
            f"the question has {len(query)} characters, the limit is {MAX_QUERY_CHARACTERS}"
        )
    return text
