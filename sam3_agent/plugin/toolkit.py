"""The tools of an assistant as methods of one value: ask, segment, refine, look, measure, masks.

Their docstrings and signatures are all that models are shown of them, see `docstrings.py`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.chat import Chat
from sam3_agent.errors import InputError, ToolError
from sam3_agent.events import Event, Finished
from sam3_agent.images import ImageSource, load_image
from sam3_agent.masks import Masks
from sam3_agent.observations import MaskNumbers
from sam3_agent.plugin import mask_data
from sam3_agent.plugin.answer_record import answer_record, public_name
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.mask_data import MaskFormat
from sam3_agent.plugin.result import ToolResult, marks
from sam3_agent.plugin.sessions import MAX_ANSWERS, MAX_BYTES, MAX_MASKS, Session, Sessions
from sam3_agent.sanitize import shorten
from sam3_agent.tool import Observation

LOCAL = "local"
"""The owner of images in a program's own process, or of the one client of a stdio server."""

USAGE = ("turns", "tool_calls", "seconds", "input_tokens", "output_tokens", "cost")
"""The usage of an ask that its caller gets."""

SEGMENTING = ("segment", "segment_like", "segment_at")
"""The planner's tools that ask the segmenter."""

SCORE: dict[str, Any] = {"minimum": 0, "maximum": 1}
PIXELS: dict[str, Any] = {"minimum": 0, "maximum": mask_data.MAX_TOLERANCE}


def _limits(least: int, most: int) -> Any:
    """The limits of a list in its schema; the tool that takes it checks them in its own words."""
    return Field(json_schema_extra={"minItems": least, "maxItems": most})


Region: TypeAlias = Annotated[list[float], _limits(4, 4)]

_HANDLE = re.compile("img_[0-9a-f]{24}")


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

        Args:
            image: An https URL, a data URI, a file's path where the server allows it, or the
                handle that an earlier result names: then the question may refer to what was asked
                before ("now only those on the left"). Example: "https://example.org/street.jpg".
            query: The question, in plain words, up to 4,000 characters. Example: "the leftmost red
                car".
        """
        session = self.session(image)
        with session.working():
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
            record = answer_record(answer)
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
        phrases: Annotated[list[str], _limits(1, 16)],
        threshold: Annotated[float | None, Field(json_schema_extra=SCORE)] = None,
        region: Region | None = None,
    ) -> ToolResult:
        """Find every instance of each concept in an image; numbered masks, no reasoning.

        A mask keeps its number for good.

        Args:
            image: An https URL, a data URI, a file's path where the server allows it, or the
                handle that an earlier result names. Example: "https://example.org/street.jpg".
            phrases: Up to 16 short noun phrases (32 tokens each), singular, with at most two visual
                attributes. Example: ["red car", "dog"].
            threshold: The least score of a mask, from 0 to 1; lower finds more. Left out, it is the
                segmenter's own. Example: 0.3.
            region: Look only here, at full resolution: x0, y0, x1, y1 in percent of the image's
                width and height. Example: [0, 50, 50, 100], the lower left quarter.
        """
        return self._run(image, "segment", phrases=phrases, threshold=threshold, region=region)

    def refine(
        self,
        image: str,
        like: Annotated[list[int | list[float]] | None, _limits(1, 16)] = None,
        unlike: Annotated[list[int | list[float]] | None, _limits(0, 15)] = None,
        phrase: str | None = None,
        points: Annotated[list[list[float]] | None, _limits(1, 16)] = None,
        box: Region | None = None,
    ) -> ToolResult:
        """Find what words missed: all that looks like examples, or the one object at a place.

        Give either `like`, or `points` or a `box`.

        Args:
            image: The handle that an earlier result names, or an https URL, a data URI or a path.
                Example: "img_0123456789abcdef01234567".
            like: Up to 16 examples (with `unlike`) of what to find: numbers of masks, or boxes
                x0, y0, x1, y1 in percent of the image's width and height. Example: [1, [10, 20, 30,
                40]].
            unlike: Counterexamples, in the same form. Example: [2].
            phrase: What the examples are, a short noun phrase; with it they work better than alone.
                Example: "red car".
            points: Up to 16 points on one object, each x, y in percent. Example: [[50, 40]].
            box: A box around one object, x0, y0, x1, y1 in percent. Example: [40, 30, 60, 50].
        """
        if bool(like) == bool(points or box):
            raise ToolError("refine needs either examples (like) or a place (points or box)")
        if like:
            return self._run(image, "segment_like", positive=like, negative=unlike, phrase=phrase)
        return self._run(image, "segment_at", points=points, box=box)

    def look(
        self,
        image: str,
        numbers: Annotated[list[int] | None, _limits(0, 25)] = None,
        region: Region | None = None,
    ) -> ToolResult:
        """See masks close up, or a region enlarged, in one picture.

        Args:
            image: The handle that an earlier result names, or an https URL, a data URI or a path.
                Example: "img_0123456789abcdef01234567".
            numbers: The numbers of up to 25 masks, each shown in a tile. Example: [1, 2].
            region: The part of the image to enlarge: x0, y0, x1, y1 in percent of its width and
                height. Example: [0, 50, 50, 100], the lower left quarter.
        """
        return self._run(image, "look", numbers=numbers, region=region)

    def measure(self, image: str, numbers: Annotated[list[int], _limits(1, 60)]) -> ToolResult:
        """Measure masks instead of guessing: areas, centres, colours, orders, distances.

        Args:
            image: The handle that an earlier result names. Example: "img_0123456789abcdef01234567".
            numbers: The numbers of up to 60 masks; for up to 8 also how each pair lies. Example:
                [1, 2, 3].
        """
        return self._run(image, "measure", numbers=numbers)

    def get_masks(
        self,
        image: str,
        numbers: Annotated[list[int] | None, _limits(1, MAX_MASKS)] = None,
        format: MaskFormat = "rle",  # noqa: A002
        tolerance: Annotated[float, Field(json_schema_extra=PIXELS)] = 1.0,
    ) -> ToolResult:
        """Get masks as data: COCO RLE, polygons with holes, or PNG files.

        As many as fit into one result; for more, ask again for the other numbers.

        Args:
            image: The handle that an earlier result names. Example: "img_0123456789abcdef01234567".
            numbers: The numbers of the masks; left out, all masks of the image. Example: [1, 2].
            format: "rle": compressed COCO run-length encoding. "polygons": for each mask polygons,
                each a list of rings, the outer one first, then its holes; a ring is x, y, x, y, ...
                in pixels. "png": a picture of the image's size for each mask, 255 where it is.
                Example: "polygons".
            tolerance: For polygons: how far, in pixels, a corner that is left out may be from the
                outline, from 0 (every pixel's edge) to 100. Example: 0.
        """
        session = self.session(image)
        with session.working():
            scene = session.scene
            chosen = mask_data.chosen_numbers(scene, numbers)
            masks = scene.select(chosen)
            data = mask_data.encoded(masks, chosen, format, tolerance, session.handle)
            return self._result(
                session, data.text, masks, chosen, details=data.details, files=data.files
            )

    def _run(self, image: str, name: str, **arguments: Any) -> ToolResult:
        """Run a tool of the planner on an image."""
        tools = {tool.name: tool for tool in registry.tools(self.agent.segmenter)}
        if name not in tools:
            what = "examples" if name == "segment_like" else "points and boxes"
            raise ToolError(
                f"{public_name(self.agent.segmenter.name)} cannot be given {what}; use segment"
            )
        session = self.session(image)
        with session.working():
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
                result.text if result.summary is None else result.summary,
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


def _is_source(text: str) -> bool:
    """Whether a text can only be a URL or a data URI."""
    return text.lower().startswith(("https:", "http:", "data:"))
