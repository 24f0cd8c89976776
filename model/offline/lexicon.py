"""The words of the grammar, as tables."""

from typing import Literal, TypeAlias

from sam3_agent.model.offline.query_tree import Order, Place, Relation

Phrase: TypeAlias = tuple[str, ...]


def _phrases(text: str) -> tuple[Phrase, ...]:
    """Splits comma-separated phrases into words."""
    return tuple(words for phrase in text.split(",") if (words := tuple(phrase.split())))


POLITE = _phrases("""
    please, kindly, hey, hi, hello, ok, okay, now, so, well, just, thanks, thank you,
    can you, could you, would you, will you, can you help me, could you help me, help me, only,
    i want, i want to, i want to know, i would like to know, i want you to, i need,
    i need to, i need you to, i would like,
    i would like to, i would like you to, i am looking for, i am searching for, let me, let us,
    try to, list, find, find me, find out, see, show, show me, give me, get, get me, tell me,
    segment, segment out, highlight, select, locate, detect, identify, pick, pick out, cut out,
    extract, look for, search for, point to, point at, point out, point me to, outline the shape of,
    the mask of, the masks of, the mask for, the masks for, a mask of, a mask for, masks of,
    masks for, the outline of, the outlines of, the location of, the position of
""")
"""Wrappings before a question that do not change its meaning."""

POLITE_BEFORE_DETERMINER = _phrases("mask, mark, outline, point, draw, box, spot, pick")
"""Commands that are nouns too: skipped only before a determiner."""

POLITE_AT_END = _phrases("please, thanks, thank you, for me, if there is one, if there are any")

WHERE = _phrases("where, where is, where are, where can i find, where can i see, where do you see")

IMAGE = frozenset("picture image photo photograph pic scene frame shot screenshot snapshot".split())
"""Names of the picture."""

HOW_MANY = _phrases("how many, how many of")
COUNTING = _phrases("""
    count, count up, number of, the number of, the total number of, total number of, the count of,
    count of, what number of, what is the number of, what is the total number of,
    what is the count of
""")
EXISTENCE = _phrases("""
    is there, are there, do you see, can you see, can i see, do we see, can we see, do you find,
    do we have, do you have, have we got, can you find,
    if there is, if there are, whether there is, whether there are, can you spot
""")
COMPARISONS: dict[Phrase, Literal["more", "fewer", "as many"]] = {
    ("more",): "more",
    ("fewer",): "fewer",
    ("less",): "fewer",
    ("as", "many"): "as many",
    ("as", "much"): "as many",
}
"""Comparisons of two numbers."""
BOUNDS = _phrases("at least, at most, exactly, only, just")
"""Words before a number: "are there [exactly] two dogs"."""
SHARES: dict[Phrase, Literal["most", "none"]] = {
    ("most", "of"): "most",
    ("most",): "most",
    ("none", "of"): "none",
    ("no",): "none",
}
"""How many objects a description must fit, other than all."""
SHOWING = frozenset("contain show have include depict".split())
THERE = _phrases("""
    are there, is there, there are, there is, do you see, can you see, can i see, do we see,
    can we see, you can see, you see, can be seen
""")
"""Words after a list: "how many dogs [are there]"."""
PRESENT = frozenset("there here visible present shown".split())

EXCEPT = _phrases("""
    except, except for, excepting, but, but not, but without, other than, excluding, exclude,
    without, and not, apart from, aside from, besides, not including, not counting, minus,
    save for, not
""")
AND = _phrases("and, or, as well as, plus, and also, along with, together with, and then")

THE = frozenset("the this that these those".split())
ALL = frozenset("all every each any some".split())
AN = frozenset("a an".split())
DETERMINERS = THE | ALL | AN | {"both"}
NUMBERS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), 1
    )
}
ORDINALS = {
    word: number
    for number, words in enumerate(
        """first 1st,second 2nd,third 3rd,fourth 4th,fifth 5th,sixth 6th,seventh 7th,eighth 8th,
        ninth 9th,tenth 10th,eleventh 11th,twelfth 12th""".split(","),
        1,
    )
    for word in words.split()
}
LAST = {
    words: rank
    for rank, text in enumerate(
        (
            "last",
            "second to last, second last, next to last, penultimate",
            "third to last, third last",
        ),
        1,
    )
    for words in _phrases(text)
}
"""Ranks counted from the other end."""

COMPOUNDS = frozenset(
    {
        *(("first", "aid"), ("top", "hat"), ("top", "hats"), ("big", "ben")),
        *(("front", "door"), ("front", "wheel"), ("front", "yard"), ("front", "seat")),
    }
)
"""Names that begin with a word of order, place or size."""

ONE = frozenset("one ones".split())
THINGS = frozenset("thing object item entity stuff".split())
PRONOUNS = frozenset("everything anything something everyone everybody anyone anybody".split())
PERSONS = frozenset("everyone everybody anyone anybody somebody someone".split())

COLORS = frozenset(
    """red orange yellow green blue purple pink brown black white grey gray violet turquoise cyan
    magenta beige tan gold golden silver maroon navy teal crimson lime olive ivory cream""".split()
)
COLOR_NOUNS = frozenset("orange lime olive violet cream gold silver teal".split())
"""Colours that are nouns too: "the apple and the orange"."""
SHADES = frozenset("dark light bright pale deep vivid hot sky royal lemon".split())
SPELLINGS = {
    **{"gray": "grey", "colour": "color", "colours": "colors", "coloured": "colored"},
    **{"u": "you", "pls": "please", "plz": "please", "thx": "thanks"},
}

_ORDER_WORDS: dict[Order, str] = {
    "left": "leftmost, left most, most left, far left, farthest left, furthest left",
    "right": "rightmost, right most, most right, far right, farthest right, furthest right",
    "top": "topmost, top most, highest, higher, uppermost, upmost",
    "bottom": "bottommost, bottom most, lowest, lowermost, downmost",
    "middle": "centermost, centremost, most central",
    "largest": "largest, biggest, greatest, larger, bigger",
    "smallest": "smallest, tiniest, littlest, smaller, tinier",
    "tallest": "tallest, taller",
    "shortest": "shortest, shorter",
    "widest": "widest, broadest, wider, broader",
    "narrowest": "narrowest, thinnest, narrower, thinner",
}
ORDERS: dict[Phrase, Order] = {
    words: order for order, text in _ORDER_WORDS.items() for words in _phrases(text)
}
SIZES: dict[str, Order] = {
    **dict.fromkeys(("large", "big", "huge"), "largest"),
    **dict.fromkeys(("small", "little", "tiny"), "smallest"),
}
"""Plain size words, which select the largest or smallest where one object is meant."""

_PLACE_WORDS: dict[Place, str] = {
    "left": "left, left hand, leftmost",
    "right": "right, right hand, rightmost",
    "top": "top, upper, topmost",
    "bottom": "bottom, lower, bottommost",
    "middle": "middle, center, centre, central, very middle, very center, very centre",
    "top left": "top left, upper left, top left hand, upper left hand, left top, left upper",
    "top right": "top right, upper right, top right hand, upper right hand, right top, right upper",
    "bottom left": "bottom left, lower left, bottom left hand, lower left hand, left bottom",
    "bottom right": "bottom right, lower right, bottom right hand, lower right hand, right bottom",
}
PLACES: dict[Phrase, Place] = {
    words: place for place, text in _PLACE_WORDS.items() for words in _phrases(text)
}
PLACE_PREPOSITIONS = _phrases("""
    on, at, in, to, towards, toward, near, close to, closer to, by, along
""")
FAR = _phrases("far, very, extreme")
FURTHEST = _phrases("""
    furthest to, farthest to, furthest on, farthest on, furthest towards, farthest towards,
    furthest at, farthest at, furthest, farthest, most to, closest to, nearest to, nearest
""")
PLACE_NOUNS = _phrases("side, edge, half, part, corner, end, area, region, hand side, border")
OPPOSITE: dict[Place, Place] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}

_RELATION_WORDS: dict[Relation, str] = {
    "left": """left of, to the left of, on the left of, at the left of, to left of, on left of,
        on the left side of, to the left side of, on the left hand side of, further left than,
        farther left than, more to the left than, further to the left than""",
    "right": """right of, to the right of, on the right of, at the right of, to right of,
        on right of, on the right side of, to the right side of, on the right hand side of,
        further right than, farther right than, more to the right than,
        further to the right than""",
    "above": "above, over, higher than, higher up than, further up than, farther up than",
    "below": """below, under, underneath, beneath, lower than, lower down than, further down than,
        farther down than""",
    "near": """next to, right next to, beside, right beside, near, near to, nearer to, close to,
        closer to, closest to, nearest to, nearest, closest, adjacent to, alongside, by,
        just next to, directly next to""",
    "between": "between, in between, in the middle of, in the middle between",
    "inside": "inside, inside of, within, in",
    "on": "on, on top of, upon, atop",
    "touching": "touching, in contact with",
    "larger": "larger than, bigger than",
    "smaller": "smaller than",
}
RELATIONS: dict[Phrase, Relation] = {
    words: relation for relation, text in _RELATION_WORDS.items() for words in _phrases(text)
}
NEAREST = frozenset({("closest", "to"), ("nearest", "to"), ("nearest",), ("closest",)})
"""The wordings of "near" that select one object."""
FILLERS = frozenset("located situated positioned placed found seen".split())
"""May precede a relation or a place."""
DIRECTLY = frozenset("just directly right immediately straight".split())
"""Before a relation: the nearest one only."""
POSTURES = frozenset("standing sitting lying resting placed perched parked stacked".split())
"""May precede "on" and "in", which imply them; elsewhere masks do not show them."""

CLOTHES = frozenset(
    """shirt t-shirt tshirt jacket coat dress suit hat cap helmet jersey uniform sweater hoodie
    skirt jeans shorts pants trousers shoe glasses sunglasses vest scarf tie outfit costume apron
    robe red black white blue green yellow pink purple orange grey brown""".split()
)
"""A person "in" one of these wears it."""

PROPERTIES = frozenset(
    """color kind type sort breed brand time shape size name number text word letter material
    temperature weather day year city country""".split()
)
"""What "which" and "what" may ask for that is no object."""

REASONS: dict[Phrase, str] = {
    **dict.fromkeys(
        _phrases("""
            behind, front, in front, in front of, in back of, in the background, in the foreground,
            in the front, in the back, in the rear, at the front, at the back, at the rear,
            to the front, to the back, to the rear
        """),
        "masks do not tell what is in front and what behind",
    ),
    **dict.fromkeys(
        _phrases("my, your, his, her, our, their, its"), "masks do not tell whose it is"
    ),
    **dict.fromkeys(
        _phrases("with, without, wearing, holding, carrying, riding, who, whose"),
        "that takes looking at the picture",
    ),
}
"""Reasons why questions with these words cannot be read."""

RESERVED = frozenset(
    """i you he she it we they me him us them who whom whose which what when where why how that
    this these those is are was were be been being am do does did doing has have had having can
    could will would shall should may might must of in on at by for
    with about like until since during from to into onto over
    under above below beneath underneath between among behind beside besides near inside outside
    within without around across against along through toward towards upon atop touching and or
    but nor so because if then than as while not very quite too also only here there more most less
    least few fewer many much several both either neither no none other others another else same
    rest except excluding the a an any all some every each my your his her our their its
    everything anything something nothing everyone everybody anyone anybody someone somebody
    one ones next adjacent alongside away up down off out far furthest farthest further farther
    closest closer nearest nearer apart aside minus
    excepting opposite whether different please thanks total altogether together overall
    plus somewhere anywhere front background foreground per vs versus makes mine yours hers theirs
    directly immediately straight""".split()
)
"""Words that are never part of a concept."""

COMMANDS = frozenset(
    """describe remove delete explain make tell compare measure read write translate paint change
    replace say name guess caption summarize summarise blur erase add edit generate create buy
    classify estimate calculate recolor draw imagine ignore forget repeat answer give""".split()
)
"""Verbs that ask for something else when they begin a question."""
