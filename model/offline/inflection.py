"""English nouns: singular, plural, and which of them a word is."""

from typing import Literal

Number = Literal["singular", "plural", "either"]

_IRREGULAR = {
    "people": "person",
    "children": "child",
    "grandchildren": "grandchild",
    "mice": "mouse",
    "lice": "louse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "oxen": "ox",
    "cacti": "cactus",
    "fungi": "fungus",
    "octopi": "octopus",
    "hippopotami": "hippopotamus",
    "larvae": "larva",
    "quizzes": "quiz",
    "axes": "axe",
    **{f"{noun}s": noun for noun in "emu menu gnu taxi ski kiwi bikini zucchini rabbi".split()},
}

_SAME = frozenset(
    """fish goldfish swordfish jellyfish starfish sheep deer reindeer moose elk bison salmon trout
    shrimp squid swine cattle offspring poultry wildlife aircraft spacecraft hovercraft watercraft
    series species dice scissors glasses eyeglasses sunglasses goggles binoculars headphones pants
    trousers jeans shorts leggings tights pyjamas pajamas overalls pliers tweezers tongs clothes
    fruit broccoli spaghetti""".split()
)
"""Words with one form for both numbers, or without a singular."""

_DRINKS = ("wine", "beer", "water", "drinking", "champagne", "cocktail", "milk", "juice", "shot")
"""Before "glasses" these make it a plural of glass."""

_SINGULAR_S = frozenset(
    """bus minibus trolleybus omnibus octopus cactus walrus virus circus hippopotamus platypus
    rhinoceros gas lens canvas atlas iris compass trellis pancreas thermos cosmos christmas
    albatross asparagus hibiscus crocus abacus campus nautilus papyrus tennis chess chassis
    oasis pelvis mantis swiss""".split()
)
"""Singular nouns that end in s."""

_IE = frozenset(
    """cookie pie magpie tie necktie bowtie movie selfie zombie brownie hoodie smoothie birdie
    doggie budgie genie collie pixie prairie veggie rookie beanie potpie onesie
    walkie-talkie""".split()
)
_F = frozenset(
    """leaf wolf shelf bookshelf loaf half scarf calf thief elf hoof wharf sheaf dwarf
    werewolf""".split()
)
_FE = frozenset("knife wife life midwife housewife penknife".split())
_OE = frozenset("shoe toe canoe hoe oboe horseshoe snowshoe tiptoe doe foe aloe floe".split())
_CHE = frozenset("ache headache cache moustache mustache quiche creche avalanche".split())
_O_TAKES_ES = frozenset("tomato potato hero torpedo mosquito mango volcano buffalo echo".split())
_MEN = frozenset("specimen omen ramen abdomen cyclamen regimen acumen stamen amen dolmen".split())
"""Singular nouns that end in -men."""
_MANS = frozenset("human german roman talisman caiman ottoman shaman".split())
"""Nouns in -man whose plural is not -men."""

_PLURALS = {
    **{one: many for many, one in _IRREGULAR.items()},
    "octopus": "octopuses",
    "fruit": "fruits",
}


def number(noun: str, before: str = "") -> Number:
    """Whether a noun is singular or plural; `either` for words with one form, such as "fish".

    before: the word in front of it, which tells wine glasses from reading glasses.
    """
    if noun in _SAME and not _are_drinking_glasses(noun, before):
        return "either"
    return "plural" if singular(noun, before) != noun else "singular"


def singular(noun: str, before: str = "") -> str:
    """The singular of a lower-case noun; a singular noun stays as it is."""
    if _are_drinking_glasses(noun, before):
        return "glass"
    if noun in _SAME or noun in _SINGULAR_S:
        return noun
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("men") and noun not in _MEN and len(noun) > 2:
        return f"{noun[:-3]}man"
    if not noun.endswith("s") or noun.endswith(("ss", "us", "is", "'s")) or len(noun) < 3:
        return noun
    without_s, without_es = noun[:-1], noun[:-2]
    if noun.endswith("ies") and len(noun) > 4 and without_s not in _IE:
        return f"{noun[:-3]}y"
    if noun.endswith("ves"):
        stem = noun[:-3]
        for ending, known in (("f", _F), ("fe", _FE)):
            if stem + ending in known:
                return stem + ending
        return without_s
    if noun.endswith("oes"):
        return without_s if without_s in _OE else without_es
    if noun.endswith("ches"):
        return without_s if without_s in _CHE else without_es
    if noun.endswith(("sses", "shes", "xes", "zzes")) or without_es in _SINGULAR_S:
        return without_es
    return without_s


def plural(noun: str) -> str:
    """The plural of a lower-case singular noun or noun phrase, whose last word is changed."""
    if " of " in noun:
        container, _, content = noun.partition(" of ")
        return f"{plural(container)} of {content}"
    before, space, head = noun.rpartition(" ")
    if head in _PLURALS:
        changed = _PLURALS[head]
    elif head in _SAME:
        changed = head
    elif head.endswith("man") and head not in _MANS:
        changed = f"{head[:-3]}men"
    elif head in _F or head in _FE:
        changed = f"{head.removesuffix('e').removesuffix('f')}ves"
    elif head.endswith("y") and head[-2:-1] not in ("", *"aeiou"):
        changed = f"{head[:-1]}ies"
    elif head.endswith(("s", "x", "z", "ch", "sh")) or head in _O_TAKES_ES:
        changed = f"{head}es"
    else:
        changed = f"{head}s"
    return f"{before}{space}{changed}"


def _are_drinking_glasses(noun: str, before: str) -> bool:
    return noun == "glasses" and before in _DRINKS


def indefinite(noun: str) -> str:
    """The noun phrase with "a" or "an" in front of it, by its first letters."""
    sounds_like_you = noun.startswith(("uni", "use", "usu", "eu", "ukulele", "ufo"))
    vowel = noun.startswith(("hour", "heir")) or (noun[:1] in "aeiou" and not sounds_like_you)
    return f"{'an' if vowel and noun else 'a'} {noun}"
