"""Names of colours, as people give them."""

import numpy as np
import pytest

from sam3_agent.tools.colors import color_shares


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((220, 30, 30), "red"),
        ((128, 0, 0), "red"),
        ((136, 84, 80), "brown"),
        ((112, 72, 64), "brown"),
        ((150, 100, 60), "brown"),
        ((245, 180, 185), "pink"),
        ((240, 130, 20), "orange"),
        ((240, 210, 30), "yellow"),
        ((30, 140, 60), "green"),
        ((0, 110, 220), "blue"),
        ((130, 50, 190), "purple"),
        ((128, 128, 128), "grey"),
        ((15, 15, 15), "black"),
        ((250, 250, 250), "white"),
    ],
)
def test_a_colour_has_the_name_that_people_give_it(rgb: tuple[int, int, int], name: str) -> None:
    assert color_shares(np.array([rgb] * 4, np.uint8)) == [(name, 1.0)]
