"""Wordings of questions that have a plainer one, which the grammar reads.

Each pattern covers a whole question, so that no word of it is skipped; what it captures is read by
the grammar like anything else.
"""

import re

_TOTAL = "in total|altogether|all together|together|in all|all in all|overall|combined|in sum"
_EACH = "by|per|of each|of every|for each|for every|in each|in every|grouped by|sorted by|split by"
_ASKED = "are there|is there|do you see|can you see|can be seen|there are"
_SAY = "name|say|list|give me|tell me|show me|what is|what are|i want to know"
_COLORS = "red|orange|yellow|green|blue|purple|pink|brown|black|white|grey"

_PATTERNS = (
    # politeness and hedges around the question
    (r"(.+?)(?: ,)? (?:please|thanks|thank you|for me)", r"\1"),
    (r"(.+?) (?:somewhere|anywhere|at all)(?: here)?", r"\1"),
    (r"(i (?:am looking|am searching|look) for .+?) , where (?:is it|are they)", r"\1"),
    (
        r"i (?:think|believe|guess|suppose|thought) (?:that )?there (?:was|were|is|are) (.+?)"
        r"(?: , (?:is there|are there|is that right|right|correct))?",
        r"is there \1",
    ),
    # totals
    (rf"(?:{_TOTAL}) , (how many .+)", r"\1"),
    (rf"(.+?) (?:{_TOTAL}) , how many(?: (?:{_ASKED}))?", r"how many \1"),
    (rf"((?:how many|count|(?:what is )?the (?:total )?number of) .+?)(?: ,)? (?:{_TOTAL})", r"\1"),
    (rf"how many (.+?) (?:{_TOTAL}) ({_ASKED})", r"how many \1 \2"),
    (r"(?:what is )?(?:the )?(?:sum|total|total count) of (.+)", r"how many \1"),
    (r"(?:how many|how much|what) (?:is|are) (.+ plus .+)", r"how many \1"),
    (r"(.+? (?:plus|and) .+?) (?:make|makes|is|are|give|gives) how many", r"how many \1"),
    # several counts
    (
        rf"(.+?) (?:vs|versus|and|or) (.+?) , how many(?: (?:{_ASKED}))?(?: of each)?"
        rf"(?: (?:{_ASKED}))?",
        r"how many \1 and \2",
    ),
    (rf"how many (.+?)(?: {_ASKED})?(?: ,)? and how many (.+)", r"how many \1 and \2"),
    (rf"(.+?) , how many(?: (?:{_ASKED}))?", r"how many \1"),
    # by colour
    (
        rf"(?:how many|(?:(?:{_SAY}) )?(?:the )?(?:number|count) of|count|group|sort|list)"
        rf" (?:the |all |all the )?(.+?)(?: (?:{_ASKED}))?(?: ,)? (?:{_EACH}) (?:the |their )?colors?"
        rf"(?: (?:{_ASKED}))?",
        r"count by color \1",
    ),
    (
        r"(?:the |all |all the )?(.+?) by (?:their )?colors?(?:(?: ,)? (?:with|and) "
        r"(?:the |their )?(?:numbers?|counts?))?",
        r"count by color \1",
    ),
    (r"how many (?:different )?colors do (.+?) have", r"count by color \1"),
    (r"how many (?:different )?colors (?:are (.+)|of (.+?) are there)", r"count by color \1\2"),
    # colours
    (r"(?:do|does|are|is) (?:all |each |every |both )?(?:of )?(.+?) (?:have |of |in )?the same color",
     r"same color the \1"),
    (r"(?:do|are) (?:all )?(?:of )?(.+?) (?:have |of |in )?(?:different|various) colors",
     r"different colors the \1"),
    (rf"(?:(?:{_SAY}) )?the colors? of (.+)", r"what color is \1"),
    (rf"(?:(?:{_SAY}) )?(.+?)'s colors?", r"what color is \1"),
    (r"(?:in )?(?:what|which) colors? (is|are) (.+?)(?: (?:painted|colored|drawn|shown))?",
     r"what color \1 \2"),
    (r"(?:what|which) colors? (?:do|does) (.+?) have", r"what color is \1"),
    (r"how (?:is|are) (.+?) (?:colored|painted)", r"what color is \1"),
    (rf"(is|are) (?!there )(.+?) ({_COLORS})(?: ,)? or ({_COLORS})", r"what color \1 \2"),
    # comparisons of numbers
    (
        r"(?:(?:is|are) there|do you see|do we see|can you see) (?:the same|an equal) number of (.+?)"
        r" (?:as|and) (.+)",
        r"are there as many \1 as \2",
    ),
    (r"(?:what|which) (?:is|are) there more(?: of)? , (.+)", r"are there more \1"),
    (r"((?:more|fewer|less|as many|as much) .+ (?:than|as) .+)", r"are there \1"),
)  # fmt: skip


def plainer(text: str) -> str:
    """The words of a question in a plainer wording that means the same; as they are without one."""
    for pattern, wording in _PATTERNS:
        if match := re.fullmatch(pattern, text):
            text = match.expand(wording)
    return text
