"""What a server refuses of a request, read from its words.

The patterns are general because the words are not: each kind of refusal has a dozen spellings, by
server, gateway and chat template. A refusal is only heeded where the request holds what it names.
"""

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

Refusal: TypeAlias = Literal[
    "context",
    "picture_count",
    "picture_size",
    "pictures_in_results",
    "tools",
    "pictures",
    "tool_role",
    "roles",
    "system",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "reasoning_effort",
    "seed",
]

MAX_WORDS = 4000
"""Characters of an error that are read; an HTML page would take long to search."""

_IMAGE = r"(?:image|picture|photo|vision|visual|multi-?modal|image_url|input_image|inline_?data)s?"
_GAP = r"(?:\W+(?!(?:format|type|size|dimension|mime|resolution|extension|encoding|file)s?\b)\w+)"
"""A word in between; none that tells that only this one picture is refused."""

_THIS_PICTURE = re.compile(
    r"\b(formats?|decod\w+|corrupt\w*|png|jpe?g|webp|mime|polic(y|ies)|safety|moderat\w+)\b",
    re.IGNORECASE,
)
"""Words about one picture's file or content, and not about pictures as such."""

_PASSING = re.compile(r"temporar|overload|try again|retry|busy|loading|starting", re.IGNORECASE)
"""Words of a server that may answer the same request later."""

_DATA_URL = re.compile(r"data:\w+/\w+;base64,[A-Za-z0-9+/=]*")

_REFUSED = (
    r"(?:not|n.t|no longer|never)\b(?:\W+\w+){0,2}?\W+(?:support|accept|allow|enable|permit|recogni"
    r"|available|implement|compatible|handle)\w*"
    r"|unsupported|incompatible|disabled|forbidden"
)
_UNKNOWN = r"(?:unknown|invalid|unexpected|unsupported|unrecogni[sz]ed|unhandled|extra|illegal|bad)"


_PATTERNS: dict[Refusal, str] = {
    "context": r"context.?length|maximum context|context window|context size|too many tokens"
    r"|(prompt|input) is too long|reduce the length|exceeds the available context"
    r"|exceeds the maximum number of tokens|token count.{0,40}exceed|request payload size exceeds",
    "pictures_in_results": rf"\A(?=.*({_REFUSED}|cannot find field|only supports? text))"
    r".*(function.?response.{0,60}(parts|image|media|inline|multimodal)"
    r"|(parts|image|media|inline|multimodal).{0,60}function.?response)",
    "picture_count": r"limit.mm.per.prompt|data-uri per request"
    r"|too (many|much) (image|picture|photo|media|visual|attachment)"
    r"|(at most|up to|max(imum)?( of)?|limit(ed)? to|only|more than|fewer than|exactly|expect\w*"
    r"|support\w*|contain\w*|provided|passed|got|received|found)"
    r"\W{0,3}(\d+|one|a single|single)\W{0,3}(image|picture|photo)(?!.{0,4}(token|pixel))"
    r"|(number|count) of (image|picture|photo)|(image|picture)s? (count|limit)"
    r"|(image|picture)s?\W{1,3}(at most|max\w*|limit)\D{0,20}\d"
    rf"|(multiple|several) (image|picture|photo)s?.{{0,60}}({_REFUSED})"
    rf"|({_REFUSED})\W.{{0,30}}(multiple|several) (image|picture|photo)",
    "picture_size": r"(image|picture|photo)\b.{0,80}(too (large|big)|exceed\w*|larger than|maximum)"
    r".{0,60}(size|pixel|byte|dimension|resolution|\d ?[km]i?b\b)"
    r"|(image|picture) (file )?(size|dimension|resolution)s?.{0,40}(exceed|too|large|maximum|limit)"
    r"|(image|picture)s? (is|are) too (large|big)",
    "tools": r"enable-auto-tool-choice|support(s|ing)? tool use|tools? param requires"
    r"|(?<![a-z])(tool|function)s?([ _-]?(use|call\w*|choice))?\W+(\w+\W+){0,4}?"
    rf"({_REFUSED})"
    r"|(not|n.t) support (native )?(tool|function)"
    rf"|{_UNKNOWN}( \w+){{0,3}}\W{{1,3}}(tools|tool_choice|functions|parallel_tool_calls)\b"
    r"|\b(tools|tool_choice)\b.{0,80}(extra (input|field)|not permitted|unexpected)",
    "tool_role": rf"{_UNKNOWN}\W+(message )?role\W{{1,4}}(is )?\W*(RoleEnum\.)?(tool|function)\b"
    rf"|role\W{{0,4}}tool\b\W{{0,4}}(is |was )?({_REFUSED})"
    rf"|tool (role|message)s?\W(\w+\W+){{0,2}}?({_REFUSED})"
    r"|only (the )?(system\W+)?user,? (and|or) assistant roles"
    r"|role.{0,30}(must be|one of|expected).{0,60}assistant.{0,40}"
    r"(got|not|received|found|given).{0,12}\btool",
    "roles": r"role .?user.? after role .?tool|after role .?tool|roles must alternate"
    r"|must alternate between|unexpected role .?(user|assistant)|single tool.?calls? at once"
    r"|tool.?call.?id.{0,60}(must|length|invalid)|not the same number of function calls"
    r"|consecutive (user|assistant)|(multiple|two) (user|assistant) messages in a row",
    "system": rf"system (role|message|prompt|instruction)s?\W(\w+\W+){{0,3}}?({_REFUSED})"
    rf"|({_REFUSED})\W(\w+\W+){{0,3}}?system (role|message|prompt|instruction)"
    r"|does not support .?system|developer instruction is not enabled"
    rf"|{_UNKNOWN}\W+(message )?role\W{{1,4}}(is )?\W*(RoleEnum\.)?system\b"
    rf"|role\W{{0,4}}system\b\W{{0,4}}(is |was )?({_REFUSED})"
    r"|must (start|begin) with a? ?.?user|first message must be.{0,20}user"
    r"|only (the )?user,? (and|or) assistant roles"
    r"|role.{0,30}(must be|one of|expected).{0,60}(got|not|received|found|given).{0,12}\bsystem",
    "pictures": rf"({_REFUSED})(?:\W+(?:by|for|in|with|the|any|this|model|to|as|of|a|inputs?))*"
    rf"\W+{_IMAGE}\b(?!\W+(?:format|type|size|dimension|mime|resolution|extension|encoding|file))"
    rf"|\b{_IMAGE}{_GAP}{{0,4}}?\W+({_REFUSED})"
    r"|unknown variant.{0,4}(image_url|input_image|image)"
    r"|unsupported content (part )?type.{0,60}image|content type\W{1,3}image_url"
    r"|only supported by certain models|no endpoints found that support (image|vision|multi)"
    r"|not an? (multi-?modal|vision)(-?language)?\b|text-only|text only"
    r"|only (support|accept|allow|handle|take)s? text|only text\b|mmproj"
    r"|(not|n.t|no) (have )?(vision|image|multimodal) (input )?(capabilit|support)"
    r"|missing data required for image|content\b.{0,40}must be a string"
    r"|content\b.{0,80}should be a valid string|unexpected item type in content"
    r"|multi-?modal\b.{0,30}(projector|compiled|not)|没有视觉|不支持.{0,10}(图片|图像|多模态|视觉)"
    r"|(图片|图像|多模态|视觉).{0,12}不支持|仅支持文本",
    "max_tokens": r"max_tokens.{0,30}(not supported|unsupported)"
    r"|(unsupported|unknown|unrecognized|extra)[^.]{0,40}\bmax_tokens",
    "max_completion_tokens": r"(unsupported|unknown|unrecognized|unexpected|extra|permitted)"
    r".{0,80}max_completion_tokens|max_completion_tokens.{0,80}(unsupported|unknown|not|extra)",
    "temperature": r"temperature.{0,120}(support|permitted|unknown|allowed|default)"
    r"|(unsupported|unknown|unrecognized|extra).{0,80}temperature",
    "reasoning_effort": r"reasoning_effort.{0,80}(support|permitted|unknown|allowed)"
    r"|(unsupported|unknown|unrecognized|extra).{0,80}reasoning_effort",
    "seed": r"\bseed\b.{0,80}(support|permitted|unknown|allowed)"
    r"|(unsupported|unknown|unrecognized|extra).{0,80}\bseed\b",
}

_COMPILED = {
    refusal: re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for refusal, pattern in _PATTERNS.items()
}


def refusals_in(words: str, model: str = "") -> tuple[Refusal, ...]:
    """What an error's words may refuse, in the order in which to heed it; empty for another error.

    model: its name, which is no part of what is said ("llama-vision is not available").
    """
    words = _DATA_URL.sub(" ", words)[:MAX_WORDS]
    if len(model) > 3:
        words = words.replace(model, "MODEL")
    return tuple(
        refusal
        for refusal, pattern in _COMPILED.items()
        if pattern.search(words) and not (refusal == "pictures" and _THIS_PICTURE.search(words))
    )


def refusals_of(status: int, words: str, model: str = "") -> tuple[Refusal, ...]:
    """What an HTTP error refuses; nothing when it is about a key, a rate or a passing trouble."""
    if status in (401, 403, 429) or (status >= 500 and _PASSING.search(words[:MAX_WORDS])):
        return ()
    return refusals_in(words, model) or (("context",) if status == 413 else ())


def numbers_in(words: str) -> tuple[int, ...]:
    """The whole numbers of a text, in order."""
    return tuple(
        int(one) for one in re.findall(r"(?<![\d.])\d{1,5}(?![\d.]*\d)", words[:MAX_WORDS])
    )


def pictures_allowed(numbers: Sequence[int], sent: int) -> int:
    """How many pictures a request may have, when one of `sent` has too many.

    numbers: those in the server's words; it is the largest of them that is less than `sent`. When
    there is none, one picture is allowed, or none if that was one too many.
    """
    return max((n for n in numbers if n < sent), default=1 if sent > 1 else 0)
