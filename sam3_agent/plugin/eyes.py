"""The five things that an assistant can do with a picture, as plain functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.chat import Chat
from sam3_agent.errors import InputError
from sam3_agent.events import Event, Finished
from sam3_agent.images import ImageSource, load_image
from sam3_agent.masks import Masks
from sam3_agent.plugin.intake import Intake
from sam3_agent.plugin.sight import Sight, marks
from sam3_agent.plugin.studies import MAX_ANSWERS, MAX_BYTES, Studies, Study
from sam3_agent.tool import Observation, Tool

LOCAL = "local"
"""The owner of images in a program's own process, or of the one client of a stdio server."""


@dataclass(frozen=True)
class Eyes:
    """What one caller can do; the public methods with docstrings are the plugin's tools.

    agent: answers questions. studies: the images at hand. intake: what may be opened.
    owner: whose images these are. images: pictures by the names that the caller may use.
    watch: is told each event of an ask; what it raises ends the ask.
    """

    agent: Agent
    studies: Studies
    intake: Intake = field(default_factory=Intake)
    owner: str | None = LOCAL
    images: Mapping[str, ImageSource] = field(default_factory=dict)
    watch: Callable[[Event], None] = lambda event: None

    @classmethod
    def of(cls, agent: Agent, max_bytes: float = MAX_BYTES, **more: Any) -> "Eyes":
        """Eyes with images of their own, which take at most `max_bytes` of memory."""
        return cls(agent, Studies(agent.segmenter, total_bytes=max_bytes), **more)

    def ask_image(self, image: str, query: str) -> Sight:
        """Answer a whole question about an image, in words and with pixel-exact masks.

        Use it for anything with relations, counts or reasoning: "the leftmost red car", "how many
        people wear a helmet?".
        image: an https URL, a data URI, a file's path where that is allowed, or the handle that an
        earlier result names: then the question may refer to what was asked before ("now only those
        on the left").
        query: the question, in plain words.
        """
        study = self.study(image)
        with study.lock:
            study.check_room()
            if (
                image != study.handle
                or study.chat is None
                or len(study.chat.answers) >= MAX_ANSWERS
            ):
                study.chat = Chat(self.agent, study.scene)
            try:
                answer = self._answer(study.chat, query)
            finally:
                study.scene.forget_features()
            study.answers.append(
                {
                    **answer.to_dict(),
                    "planner": public_name(answer.planner),
                    "segmenter": public_name(answer.segmenter),
                    "conversation": [message.to_dict() for message in answer.messages],
                }
            )
            usage = answer.usage.to_dict()
            told = ("turns", "tool_calls", "seconds", "input_tokens", "output_tokens", "cost")
            return self._sight(
                study,
                answer.text,
                answer.masks,
                answer.numbers,
                status=answer.status,
                details={"usage": {name: usage[name] for name in told}},
                picture=answer.overlay(),
            )

    def segment(self, image: str, phrases: list[str]) -> Sight:
        """Find every instance of each concept in an image; numbered masks, no reasoning.

        image: as for ask_image.
        phrases: short noun phrases, singular, with at most two visual attributes, such as
        "red car". A mask keeps its number for good.
        """
        return self._run(image, "segment", phrases=phrases)

    def _run(self, image: str, name: str, **arguments: Any) -> Sight:
        """Run a tool of the planner on an image."""
        tool = self._tools()[name]
        study = self.study(image)
        with study.lock:
            study.check_room()
            try:
                result = tool.function(study.scene, **arguments)
            finally:
                study.scene.forget_features()
            assert isinstance(result, Observation), "only `answer` ends a run"
            numbers = [mask["number"] for mask in result.data.get("masks", ())]
            details = {k: v for k, v in result.data.items() if k not in ("masks", "image")}
            picture = result.pictures[0] if result.pictures else None
            masks = study.scene.select(numbers)
            return self._sight(study, result.text, masks, numbers, details=details, picture=picture)

    def study(self, image: str | bytes) -> Study:
        """The image under study that a caller means; opens it if it is not open yet."""
        if isinstance(image, str) and image.startswith("img_"):
            return self.studies.get(self.owner, image)
        if isinstance(image, str) and image in self.images:
            pixels = load_image(self.images[image], max_megapixels=self.agent.max_megapixels)
        elif isinstance(image, str) and self.images and not _is_source(image):
            raise InputError(
                f"there is no image {image[:80]!r}; there is: {', '.join(self.images)}"
            )
        else:
            pixels = self.intake.read(image)
        return self.studies.open(self.owner, pixels)

    def _answer(self, chat: Chat, query: str) -> Answer:
        events = chat.stream(query)
        try:
            for event in events:
                self.watch(event)
                if isinstance(event, Finished):
                    return event.answer
        finally:
            events.close()
        raise AssertionError("a stream ends with Finished")

    def _tools(self) -> dict[str, Tool]:
        from sam3_agent import load

        return {tool.name: tool for tool in load.tools()}

    def _sight(
        self, study: Study, text: str, masks: Masks, numbers: Sequence[int], **more: Any
    ) -> Sight:
        scene, study.shown = study.scene, tuple(numbers)
        return Sight(
            study.handle,
            scene.width,
            scene.height,
            text,
            masks=marks(masks, numbers),
            segmentations=tuple(masks.rle()),
            **more,
        )


def public_name(name: str) -> str:
    """A model's name without the folder of this machine that it may lie in."""
    return Path(name).name if Path(name).is_absolute() else name


def _is_source(text: str) -> bool:
    """Whether a text can only be a URL or a data URI."""
    return text.lower().startswith(("https:", "http:", "data:"))
