"""Open images of the servers: who may use them, and the bounds on their memory."""

from typing import Any

import numpy as np
import pytest

from sam3_agent import Agent
from sam3_agent.errors import InputError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.sessions import Sessions


def picture(shade: int) -> Any:
    return np.full((100, 100, 3), shade, np.uint8)


def test_an_owner_keeps_the_images_used_last_and_idle_ones_are_dropped(
    segmenter: FakeSegmenter,
) -> None:
    now = [0.0]
    sessions = Sessions(segmenter, owner_images=2, idle_seconds=60, clock=lambda: now[0])
    first, second = sessions.open("me", picture(1)), sessions.open("me", picture(2))
    other = sessions.open("you", picture(1))
    assert other.handle != first.handle
    sessions.get("me", first.handle)
    sessions.open("me", picture(3))
    with pytest.raises(InputError, match="give the image again"):
        sessions.get("me", second.handle)  # the least recently used
    with pytest.raises(InputError, match="no image with this handle"):
        sessions.get("you", first.handle)
    assert sessions.get("me", first.handle) is first
    now[0] = 61
    sessions.drop_idle()
    assert len(sessions) == 0


def test_all_owners_together_stay_within_the_memory_limit(segmenter: FakeSegmenter) -> None:
    sessions = Sessions(segmenter, total_bytes=100_000)
    for shade in range(20):
        sessions.open(None if shade % 2 else f"owner {shade}", picture(shade))
        assert sessions.weight() <= 100_000
    assert len(sessions) == 3


def test_an_image_takes_a_bounded_number_of_findings(segmenter: FakeSegmenter) -> None:
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), segmenter))
    handle = toolkit.sessions.open("local", picture(0)).handle

    def search_on() -> None:
        for number in range(0, 10_000, 16):
            toolkit.segment(handle, [f"thing {number + i}" for i in range(16)])

    with pytest.raises(InputError, match="give the image itself again"):
        search_on()
    assert toolkit.sessions.open("local", picture(0)).handle != handle
