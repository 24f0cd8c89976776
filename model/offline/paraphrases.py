"""Rewrites wordings of questions into those of the grammar.

Each pattern matches a whole question, so that no word is skipped; its groups are parsed like any
other text.
"""

import re

_TOTAL = "in total|altogether|all together|together|in all|all in all|overall|combined|in sum"
_EACH = "by|per|of each|of every|for each|for every|in each|in every|grouped by|sorted by|split by"
_SEEN = "are there|is there|do you see|can you see|can be seen|there are"
_SAY = "name|say|list|give me|tell me|show me|what is|what are|i want to know"
_COLOR = "red|orange|yellow|green|blue|purple|pink|brown|black|white|grey"
_POLITE = "hey|hi|hello|ok|okay|so|well|can you|could you|would you|kindly"

# (pattern, wording): each rewrites a whole question; those below see what those above made of it
_TOTALS = (
    (rf"(?:{_TOTAL}) , (how many .+)", r"\1"),
    (rf"(.+?) (?:{_TOTAL}) , how many(?: (?:{_SEEN}))?", r"how many \1"),
    (rf"((?:how many|count|(?:what is )?the (?:total )?number of) .+?)(?: ,)? (?:{_TOTAL})", r"\1"),
    (rf"how many (.+?) (?:{_TOTAL}) ({_SEEN})", r"how many \1 \2"),
    (r"(?:what is )?(?:the )?(?:sum|total|total count) of (.+)", r"how many \1"),
    (r"(?:how many|how much|what) (?:is|are) (.+ plus .+)", r"how many \1"),
    (r"(.+? (?:plus|and) .+?) (?:make|makes|is|are|give|gives) how many", r"how many \1"),
)
_SEVERAL_COUNTS = (
    (
        rf"(.+?) (?:vs|versus|and|or) (.+?) , how many(?: (?:{_SEEN}))?(?: of each)?"
        rf"(?: (?:{_SEEN}))?",
        r"how many \1 and \2",
    ),
    (rf"how many (.+?)(?: (?:{_SEEN}))?(?: ,)? and how many (.+)", r"how many \1 and \2"),
    (rf"(.+?) , how many(?: (?:{_SEEN}))?(?: (?:{_TOTAL}))?", r"how many \1"),
)
_GROUPS = (
    (
        rf"(?:how many|(?:(?:{_SAY}) )?(?:the )?(?:number|count) of|count|group|sort|list)"
        rf" (?:the |all |all the )?(.+?)(?: (?:{_SEEN}))?(?: ,)? (?:{_EACH}) (?:the |their )?"
        rf"colors?(?: (?:{_SEEN}))?",
        r"count by color \1",
    ),
    (
        rf"(?:the |all |all the )?(.+?)(?: ,)? (?:{_EACH}) (?:their )?colors?"
        r"(?:(?: ,)? (?:with|and) (?:the |their )?(?:numbers?|counts?))?",
        r"count by color \1",
    ),
    (
        rf"(?:how many |count |list )?(?:the |all |all the )?(.+?)(?: (?:{_SEEN}))?(?: ,)? "
        rf"(?:{_EACH}) (?:kind|type|sort)(?: (?:{_SEEN}))?",
        r"how many \1",
    ),
    (
        rf"(?:how many|the number) of each (?:kind|type|sort) of (.+?)((?: (?:{_SEEN}))?)",
        r"how many \1\2",
    ),
    (r"how many (?:different )?colors do (.+?) have", r"count by color \1"),
    (r"how many (?:different )?colors (?:are (.+)|of (.+?) are there)", r"count by color \1\2"),
    (
        rf"(?:how many|what|which) (?:different )?(?:kinds|types|sorts|species) of (.+?)"
        rf"((?: (?:{_SEEN}))?)",
        r"count kinds of \1\2",
    ),
    (rf"how many different (.+?)((?: (?:{_SEEN}))?)", r"count kinds of \1\2"),
)
_COLORS = (
    (
        r"(?:do|does|are|is) (?:all |each |every |both )?(?:of )?(?:the )?(.+?) (?:have |of |in )?"
        r"the same color",
        r"same color the \1",
    ),
    (
        r"(?:do|are) (?:all )?(?:of )?(?:the )?(.+?) (?:have |of |in )?"
        r"(?:different|various) colors",
        r"different colors the \1",
    ),
    (rf"(?:(?:{_SAY}) )?the colors? of (.+)", r"what color is \1"),
    (rf"(?:(?:{_SAY}) )?(.+?)'s colors?", r"what color is \1"),
    (
        r"(?:in )?(?:what|which) colors? (is|are) (.+?)(?: (?:painted|colored|drawn|shown))?",
        r"what color \1 \2",
    ),
    (r"(?:what|which) colors? (?:do|does) (.+?) have", r"what color is \1"),
    (r"how (?:is|are) (.+?) (?:colored|painted)", r"what color is \1"),
    (rf"(is|are) (?!there )(.+?) (?:{_COLOR})(?: ,)? or (?:{_COLOR})", r"what color \1 \2"),
)
_COMPARISONS = (
    (
        r"(?:(?:is|are) there|do you see|do we see|can you see) (?:the same|an equal) number of "
        r"(.+?) (?:as|and) (.+)",
        r"are there as many \1 as \2",
    ),
    (r"(?:what|which) (?:is|are) there more(?: of)? , (.+)", r"are there more \1"),
    (r"((?:more|fewer|less|as many|as much) .+ (?:than|as) .+)", r"are there \1"),
)
_PATTERNS = (
    (rf"(?:(?:{_POLITE}) (?:, )?)+(.+)", r"\1"),
    (r"(.+?)(?: ,)? (?:thanks|thank you|for me)", r"\1"),
    (r"((?:is|are) there .+|do you see .+) in it", r"\1"),
    (r"(.+?) (?:somewhere|anywhere|at all)(?: here)?", r"\1"),
    (r"(i (?:am looking|am searching|look) for .+?) , where (?:is it|are they)", r"\1"),
    (
        r"i (?:think|believe|guess|suppose|thought) (?:that )?there (?:was|were|is|are) (.+?)"
        r"(?: , (?:is there|are there|is that right|right|correct))?",
        r"is there \1",
    ),
    (r"there (?:is|are) (.+?) , (?:right|correct|is there|are there)", r"is there \1"),
    (r"(?:is|are) not there (.+)", r"is there \1"),
    (r"are (the .+?) (all|both) (.+)", r"are \2 of \1 \3"),
    *_TOTALS,
    *_SEVERAL_COUNTS,
    *_GROUPS,
    *_COLORS,
    *_COMPARISONS,
)


def normalized(text: str) -> str:
    """Rewrites a question in the wording that the grammar reads; returns any other unchanged."""
    text = re.sub(r"(?:^| , | )please(?= |$)", "", text).strip()
    for pattern, wording in _PATTERNS:
        if match := re.fullmatch(pattern, text):
            text = match.expand(wording)
    return text
