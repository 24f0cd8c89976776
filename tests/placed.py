"""A segmenter for processes of their own: `--segmenter tests.placed:Placed` loads no torch."""

from sam3_agent.model.fake_segmenter import FakeSegmenter


class Placed(FakeSegmenter):
    """Finds two dogs in any image of at least 90x90 pixels."""

    def __init__(self) -> None:
        super().__init__({"dog": [(10, 10, 40, 40), (50, 50, 90, 90)]})
