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
"""A word in between; none that shows that only this one picture is refused."""

_THIS_PICTURE = re.compile(
    r"\b(formats?|decod\w+|corrupt\w*|png|jpe?g|webp|mime|polic(y|ies)|safety|moderat\w+)\b",
    re.IGNORECASE,
)
"""Words about one picture's file or content, and not about pictures as such."""

_PASSING = re.compile(r"temporar|overload|try again|retry|busy|loading|starting", re.IGNORECASE)
"""Words of a server that may answer the same request later."""

_DATA_URL = re.compile(r"data:\w+/\w+;base64,[A-Za-z0-9+/=]*")

_NOUN = r"(?:image|picture|photo)s?\b"
_ONE = r"(?:\d+|one|an?|a single|single)"
_REFUSED = (
    r"(?:not|\w*n.t|no longer|never)\b(?:\W+\w+){0,2}?\W+(?:support|accept|allow|enable|permit"
    r"|recogni|available|implement|compatible|handle)\w*"
    r"|unsupported|incompatible|disabled|forbidden"
)
_UNKNOWN = r"(?:unknown|invalid|unexpected|unsupported|unrecogni[sz]ed|unhandled|extra|illegal|bad)"
_SOME = r"\W+(?:\w+\W+){0,4}?"


def _no_choice(value: str) -> str:
    """How schema checks say that a field may not have this value."""
    return (
        rf"[`'\"]{value}[`'\"] is not (one of|an? valid|an? allowed|allowed|permitted|supported)"
        rf"|(invalid value|input_value|unknown variant)\W+{value}\b"
    )


def _no_role(role: str) -> str:
    """How servers refuse a role of messages."""
    return (
        rf"{_UNKNOWN}\W+(message )?role\W{{1,4}}(is )?\W*(RoleEnum\.)?{role}\b"
        rf"|role\W{{0,4}}{role}\b\W{{0,4}}(is |was )?({_REFUSED})"
        rf"|(must be|one of|expected).{{0,60}}\b(got|not|received|found|given)\W+(\w+\W+)?{role}\b"
        rf"|{_no_choice(role)}"
    )


_PATTERNS: dict[Refusal, str] = {
    "context": r"context.?length|maximum context|context window|context size|too many tokens"
    r"|(prompt|input) is too long|reduce the length|exceeds the available context"
    r"|exceeds the maximum number of tokens|token count.{0,40}exceed|request payload size exceeds",
    "pictures_in_results": rf"\A(?=.*({_REFUSED}|cannot find field|only supports? text))"
    r".*(function.?response.{0,60}(parts|image|media|inline|multimodal)"
    r"|(parts|image|media|inline|multimodal).{0,60}function.?response)",
    "picture_count": r"limit.mm.per.prompt|data-uri per request"
    r"|too (many|much) (image|picture|photo|media|visual|attachment)"
    r"|(at most|up to|max(imum)?( of)?|limit\w*( to| of)?|more than|fewer than|exactly|expect\w*"
    rf"|support\w*|contain\w*|provided|passed|got|received|found)\W{{0,3}}(\d+|one|single)\W+{_NOUN}"
    rf"(?!.{{0,4}}(token|pixel))|only(\W+\w+){{0,2}}\W+{_ONE}\W+{_NOUN}"
    rf"|\d+ {_NOUN} (were |was )?(provided|given|passed|received|found|sent|attached)"
    rf"|(number|count) of {_NOUN}|(image|picture)s? (count|limit)"
    rf"|{_NOUN} per (request|message|prompt)\W+(\w+\W+){{0,2}}?(is|be|are|exceed\w*)\b"
    rf"|{_NOUN}\W{{1,3}}(at most|max\w*|limit)\D{{0,20}}\d"
    rf"|(multiple|several) {_NOUN}.{{0,60}}({_REFUSED})"
    rf"|({_REFUSED})\W.{{0,30}}(multiple|several) {_NOUN}",
    "picture_size": rf"{_NOUN}.{{0,80}}(too (large|big)|exceed\w*|larger than|maximum)"
    r".{0,60}(size|pixel|byte|dimension|resolution|\d ?[km]i?b\b)"
    r"|(image|picture) (file )?(size|dimension|resolution)s?.{0,40}(exceed|too|large|maximum|limit)"
    rf"|{_NOUN} (is|are) too (large|big)",
    "tools": r"enable-auto-tool-choice|support(s|ing)? tool use|tools? param requires"
    rf"|(?<![a-z])(tool|function)s?([ _-]?(use|call\w*|choice))?{_SOME}({_REFUSED})"
    r"|(not|n.t) support (native )?(tool|function)"
    r"|(not|n.t) support\w*( param\w*)?\W{1,5}(tools|tool_choice|functions|parallel_tool_calls)\b"
    rf"|{_UNKNOWN}( \w+){{0,3}}\W{{1,3}}(tools|tool_choice|functions|parallel_tool_calls)\b"
    r"|\b(tools|tool_choice)\b.{0,80}(extra (input|field)|not permitted|unexpected)",
    "tool_role": rf"{_no_role('tool')}|tool (role|message)s?{_SOME}({_REFUSED})"
    r"|only .{0,40}\bassistant roles",
    "roles": r"role .?user.? after role .?tool|after role .?tool|(role|message)s must alternate"
    r"|must alternate between|unexpected role .?(user|assistant)|expected last role"
    r"|single tool.?calls? at once|one tool.?call at a time|not the same number of function calls"
    r"|tool.?call.?ids?.{0,60}(must|should|length|invalid)|consecutive (user|assistant)"
    r"|(user|assistant|tool) messages? (cannot|can.t|must not|may not|must be) follow"
    r"|(multiple|two) (user|assistant) messages in a row",
    "system": rf"{_no_role('system')}"
    rf"|system\W{{1,3}}(role|message|prompt|instruction)s?{_SOME}({_REFUSED})"
    rf"|({_REFUSED})\W(\w+\W+){{0,3}}?system\W{{1,3}}(role|message|prompt|instruction)"
    r"|does not support .?system|developer instruction is not enabled"
    r"|must (start|begin) with a? ?.?user|first message must.{0,25}\buser"
    r"|only (the )?user,? (and|or) assistant roles",
    "pictures": rf"({_REFUSED})(?:\W+(?:by|for|in|with|the|any|this|model|to|as|of|a|inputs?))*"
    rf"\W+{_IMAGE}\b(?!\W+(?:format|type|size|dimension|mime|resolution|extension|encoding|file))"
    rf"|\b{_IMAGE}{_GAP}{{0,4}}?\W+({_REFUSED})|{_no_choice('(image_url|input_image|image)')}"
    r"|unsupported content (part )?type.{0,60}image|content type\W{1,3}image_url"
    r"|only supported by certain models|no endpoints found that support (image|vision|multi)"
    r"|not an? (multi-?modal|vision)(-?language)?\b|text-only|text only"
    r"|only (support|accept|allow|handle|take)s? text|only text\b|mmproj"
    r"|\b(no|not|n.t) (have )?(an? )?(vision|image|multimodal) (input )?"
    r"(capabilit|support|encoder|tower|processor|projector)"
    r"|(cannot|can.t|can not|(un|not )able to) (process|read|handle|see|view) (image|picture)s\b"
    r"|clip model (is )?not loaded|missing data required for image|unexpected item type in content"
    r"|content\b.{0,80}(must|should|expected)\W+(be )?(an? )?(valid )?str"
    r"|content\b.{0,40}(must|should) be\W+text\b"
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

_COMPILED: dict[Refusal, re.Pattern[str]] = {
    refusal: re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for refusal, pattern in _PATTERNS.items()
}


def refusals_in(words: str, model: str = "") -> tuple[Refusal, ...]:
    """What an error's words may refuse, in the order in which to try them; empty for another error.

    model: its name, which is no part of the message ("llama-vision is not available").
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
