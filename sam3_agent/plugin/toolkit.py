"""The five tools of an assistant as methods of one value: ask, segment, refine, look, measure."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.chat import Chat
from sam3_agent.errors import InputError, ToolError
from sam3_agent.events import Event, Finished
from sam3_agent.images import ImageSource, load_image
from sam3_agent.masks import Masks
from sam3_agent.observations import MaskNumbers
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.result import ToolResult, marks
from sam3_agent.plugin.sessions import MAX_ANSWERS, MAX_BYTES, Session, Sessions
from sam3_agent.sanitize import shorten
from sam3_agent.tool import Observation

LOCAL = "local"
"""The owner of images in a program's own process, or of the one client of a stdio server."""

USAGE = ("turns", "tool_calls", "seconds", "input_tokens", "output_tokens", "cost")
"""The usage of an ask that its caller gets."""

SEGMENTING = ("segment", "segment_like", "segment_at")
"""The planner's tools that ask the segmenter."""

_HANDLE = re.compile("img_[0-9a-f]{24}")
_FOLDER = re.compile(r"(?<![^:+])[~.]*/(?:[^+]*/)?")


@dataclass(frozen=True)
class Toolkit:
    """The plugin's tools for one caller.

    agent: answers questions. sessions: the open images. loader: opens images by URL or path.
    owner: of the images that are opened. images: pictures by the names that the caller may use.
    watch: called with each event of an ask; an exception of it ends the ask.
    """

    agent: Agent
    sessions: Sessions
    loader: ImageLoader = field(default_factory=ImageLoader)
    owner: str | None = LOCAL
    images: Mapping[str, ImageSource] = field(default_factory=dict)
    watch: Callable[[Event], None] = lambda event: None

    @classmethod
    def of(cls, agent: Agent, max_bytes: float = MAX_BYTES, **more: Any) -> "Toolkit":
        """A toolkit with sessions of its own, which take at most `max_bytes` of memory."""
        return cls(agent, Sessions(agent.segmenter, total_bytes=max_bytes), **more)

    def ask_image(self, image: str, query: str) -> ToolResult:
        """Answer a whole question about an image, in words and with pixel-exact masks.

        Use it for anything with relations, counts or reasoning: "the leftmost red car", "how many
        people wear a helmet?".
        image: an https URL, a data URI, a file's path where that is allowed, or the handle that an
        earlier result names: then the question may refer to what was asked before ("now only those
        on the left").
        query: the question, in plain words, up to 4,000 characters.
        """
        session = self.session(image)
        with session.lock:
            session.check_not_full()
            if (
                image != session.handle
                or session.chat is None
                or len(session.chat.answers) >= MAX_ANSWERS
            ):
                session.chat = Chat(self.agent.stream_task, session.scene)
            try:
                answer = self._answer(session.chat, query)
            finally:
                session.scene.forget_features()
            record = _answer_record(answer)
            session.answers.append(json.dumps(record))
            return self._result(
                session,
                answer.text,
                answer.masks,
                answer.numbers,
                status=answer.status,
                details={
                    "usage": {name: record["usage"][name] for name in USAGE},
                    "mentions": record["mentions"],
                },
                pictures=(answer.overlay(),),
            )

    def segment(
        self,
        image: str,
        phrases: list[str],
        threshold: float | None = None,
        region: list[float] | None = None,
    ) -> ToolResult:
        """Find every instance of each concept in an image; numbered masks, no reasoning.

        image: as for ask_image.
        phrases: up to 16 short noun phrases (32 tokens each), singular, with at most two visual
        attributes, such as "red car". A mask keeps its number for good.
        threshold: least score from 0 to 1, the segmenter's own if left out; lower finds more.
        region: x0,y0,x1,y1 in percent of the image; look only there, at full resolution.
        """
        return self._run(image, "segment", phrases=phrases, threshold=threshold, region=region)

    def refine(
        self,
        image: str,
        like: list[int | list[float]] | None = None,
        unlike: list[int | list[float]] | None = None,
        phrase: str | None = None,
        points: list[list[float]] | None = None,
        box: list[float] | None = None,
    ) -> ToolResult:
        """Find what words missed: all that looks like examples, or the one object at a place.

        image: as for ask_image. All places are in percent of the image's width and height.
        like, unlike: up to 16 examples and counterexamples: numbers of masks, or boxes x0,y0,x1,y1;
        with `phrase` they work better than alone.
        points, box: up to 16 points x,y on one object, or a box around it.
        """
        if bool(like) == bool(points or box):
            raise ToolError("refine needs either examples (like) or a place (points or box)")
        if like:
            return self._run(image, "segment_like", positive=like, negative=unlike, phrase=phrase)
        return self._run(image, "segment_at", points=points, box=box)

    def look(
        self, image: str, numbers: list[int] | None = None, region: list[float] | None = None
    ) -> ToolResult:
        """See masks close up, or a region enlarged, in one picture.

        image: the handle that an earlier result names.
        numbers: of up to 25 masks, each in a tile; region: x0,y0,x1,y1 in percent of the image.
        """
        return self._run(image, "look", numbers=numbers, region=region)

    def measure(self, image: str, numbers: list[int]) -> ToolResult:
        """Measure masks instead of guessing: areas, centres, colours, orders, distances.

        image: the handle that an earlier result names.
        numbers: of up to 60 masks; for up to 8 also how each pair lies.
        """
        return self._run(image, "measure", numbers=numbers)

    def _run(self, image: str, name: str, **arguments: Any) -> ToolResult:
        """Run a tool of the planner on an image."""
        tools = {tool.name: tool for tool in registry.tools(self.agent.segmenter)}
        if name not in tools:
            what = "examples" if name == "segment_like" else "points and boxes"
            raise ToolError(
                f"{public_name(self.agent.segmenter.name)} cannot be given {what}; use segment"
            )
        session = self.session(image)
        with session.lock:
            session.check_not_full()
            if name in SEGMENTING:
                why = self.agent.outside_domain(session.scene.image)
                if why is not None:
                    return self._result(session, why, session.scene.select(()), (), status="unable")
            try:
                result = tools[name].function(session.scene, **arguments)
            finally:
                session.scene.forget_features()
            assert isinstance(result, Observation), "only `answer` ends a run"
            found = result.findings or MaskNumbers(())
            return self._result(
                session,
                result.text,
                session.scene.select(found.numbers),
                found.numbers,
                details=found.to_dict(),
                pictures=result.pictures,
            )

    def session(self, image: str | bytes) -> Session:
        """The session of a handle, a URL, a path, a name in `images`, or the content of a file."""
        if isinstance(image, str) and _HANDLE.fullmatch(image):
            return self.sessions.get(self.owner, image)
        if isinstance(image, str) and image in self.images:
            pixels = load_image(self.images[image], max_megapixels=self.agent.max_megapixels)
        elif isinstance(image, str) and self.images and not _is_source(image):
            raise InputError(
                f"there is no image {shorten(image, 80)!r}; there is: {', '.join(self.images)}"
            )
        else:
            pixels = self.loader.read(image)
        return self.sessions.open(self.owner, pixels)

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

    def _result(
        self, session: Session, text: str, masks: Masks, numbers: Sequence[int], **more: Any
    ) -> ToolResult:
        scene, session.shown = session.scene, tuple(numbers)
        return ToolResult(
            session.handle,
            scene.width,
            scene.height,
            text,
            masks=marks(masks, numbers),
            **more,
        )


def _answer_record(answer: Answer) -> dict[str, Any]:
    """An answer with its conversation as JSON values, without folders of this machine."""
    return {
        **answer.to_dict(),
        "planner": public_name(answer.planner),
        "segmenter": public_name(answer.segmenter),
        "conversation": [message.to_dict() for message in answer.messages],
    }


def public_name(name: str) -> str:
    """A model's name without the folder of a machine that it, or a part of it, may lie in."""
    return Path(name).name if Path(name).is_absolute() else _FOLDER.sub("", name)


def _is_source(text: str) -> bool:
    """Whether a text can only be a URL or a data URI."""
    return text.lower().startswith(("https:", "http:", "data:"))
