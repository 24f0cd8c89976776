"""Open images, kept between calls: each has a secret handle, and all have bounds on memory."""

import asyncio
import contextlib
import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from sam3_agent.budget import refuse_if_stopped
from sam3_agent.chat import Chat
from sam3_agent.errors import InputError
from sam3_agent.images import Pixels
from sam3_agent.plugin.result import marks
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter

MAX_FINDINGS = 500
MAX_MASKS = 10_000
MAX_ANSWERS = 16

MAX_BYTES = 1e9
"""Memory that all open images may take."""

LOCK_SLICE = 0.1
"""Seconds after which a call that waits for an image sees again whether its caller still waits."""

MAX_IMAGES = 1000
"""Images that may be open at once, however small."""

GONE = (
    "there is no image with this handle here: it was never opened, belongs to another client, or "
    "was dropped; give the image again"
)
FULL = (
    f"too much was asked about this image: it has {MAX_FINDINGS} findings or {MAX_MASKS} masks; "
    "give the image itself again, not its handle, to start from nothing"
)


@dataclass(eq=False)
class Session:
    """One open image: its scene, and the last answers about it.

    handle: a secret. owner: the client that alone may use the handle; None for whoever has it.
    content: hash of the pixels. used: when it was last used. answers: the last answers as JSON
    texts, each with its conversation. shown: the masks of the last result. chat: for questions
    that follow up. lock: held while a tool works on the scene.
    """

    handle: str
    owner: str | None
    scene: Scene
    content: str
    used: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    answers: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_ANSWERS))
    shown: tuple[int, ...] = ()
    chat: Chat | None = None

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the lock; raises StoppedError when the caller does not wait for it any more."""
        while not self.lock.acquire(timeout=LOCK_SLICE):
            refuse_if_stopped()
        try:
            yield
        finally:
            self.lock.release()

    def weight(self) -> int:
        """Rough bytes of the image, its masks and the pictures of its chat, without features."""
        masks = sum(len(rle["counts"]) + 400 for rle in self.scene.masks.rles)
        messages = self.chat.answers[-1].messages if self.chat and self.chat.answers else ()
        pictures = {id(one): one.nbytes for message in messages for one in message.pictures}
        pictures[id(self.scene.image)] = self.scene.image.nbytes
        words = sum(map(len, self.answers)) + 1_000 * len(self.scene.findings)
        return sum(pictures.values()) + masks + words

    def masks_data(self) -> dict[str, Any]:
        """All masks as JSON values, number 1 first; each a compressed COCO RLE."""
        masks = self.scene.masks
        return {
            "image": {
                "handle": self.handle,
                "width": self.scene.width,
                "height": self.scene.height,
            },
            "instances": [asdict(mark) for mark in marks(masks, range(1, len(masks) + 1))],
        }

    def full(self) -> bool:
        """Whether more findings or masks would leave the bounds on memory."""
        return len(self.scene.findings) >= MAX_FINDINGS or len(self.scene.masks) >= MAX_MASKS

    def check_not_full(self) -> None:
        """Raises InputError when the image is full."""
        if self.full():
            raise InputError(FULL)


class Sessions:
    """All open images of a process; thread-safe.

    A client with a name (owner) can use its own images only. Clients without one (None) need the
    handle, which cannot be guessed; each of their images stands alone.

    owner_images, owner_bytes: what one owner may keep; the least recently used is dropped first.
    total_images, total_bytes: the same for all. idle_seconds: after so long an unused image is
    dropped.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        owner_images: int = 16,
        owner_bytes: float = 600e6,
        total_images: int = MAX_IMAGES,
        total_bytes: float = MAX_BYTES,
        idle_seconds: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner_images = owner_images
        self.owner_bytes = min(owner_bytes, total_bytes)
        self.total_images = total_images
        self.total_bytes = total_bytes
        self.idle_seconds = idle_seconds
        self._segmenter = segmenter
        self._clock = clock
        # in order of use: `_touched` moves a session to the end
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, owner: str | None, image: Pixels) -> Session:
        """The session of an (H, W, 3) uint8 image: the one that its owner has open, unless full."""
        content = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
        with self._lock:
            for session in list(self._sessions.values()):
                if owner is not None and (session.owner, session.content) == (owner, content):
                    if not session.full():
                        return self._touched(session)
                    del self._sessions[session.handle]
            handle = f"img_{secrets.token_hex(12)}"
            session = Session(handle, owner, Scene(image, self._segmenter), content, self._clock())
            self._sessions[handle] = session
            self._drop(owner)
            return session

    def get(self, owner: str | None, handle: str) -> Session:
        """The session of a handle; raises InputError when this owner has no such image."""
        with self._lock:
            self._drop(owner)
            session = self._sessions.get(handle)
            if session is None or session.owner not in (None, owner):
                raise InputError(GONE)
            return self._touched(session)

    def drop_idle(self) -> None:
        """Drop images that were not used for `idle_seconds`; servers call this periodically."""
        with self._lock:
            self._drop(None)

    def drop_owner(self, owner: str) -> None:
        """Drop the images of an owner who will not come back."""
        with self._lock:
            for handle in [h for h, one in self._sessions.items() if one.owner == owner]:
                del self._sessions[handle]

    def weight(self) -> int:
        """Rough bytes of all open images."""
        with self._lock:
            return sum(session.weight() for session in self._sessions.values())

    def _touched(self, session: Session) -> Session:
        """The session as the one that was used last."""
        session.used = self._clock()
        self._sessions[session.handle] = self._sessions.pop(session.handle)
        return session

    def _drop(self, owner: str | None) -> None:
        """Drop idle images, then the least recently used ones of this owner and of all."""
        oldest = self._clock() - self.idle_seconds
        self._sessions = {
            h: session for h, session in self._sessions.items() if session.used > oldest
        }
        if owner is not None:
            own = [session for session in self._sessions.values() if session.owner == owner]
            self._shrink(own, self.owner_bytes, self.owner_images)
        self._shrink(list(self._sessions.values()), self.total_bytes, self.total_images)

    def _shrink(self, sessions: list[Session], limit: float, count: int) -> None:
        """Drop the first of these, but never the last, until both limits hold."""
        total = sum(session.weight() for session in sessions)
        left = len(sessions)
        for session in sessions[:-1]:
            if total <= limit and left <= count:
                return
            del self._sessions[session.handle]
            total, left = total - session.weight(), left - 1


async def sweep(sessions: Sessions, seconds: float = 60.0) -> None:
    """Drop idle images every so many seconds, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        sessions.drop_idle()
