"""Words that decide how far the name of an object goes, as tables."""

CONTAINERS = frozenset(
    """cup glass mug bottle bowl plate piece slice bunch pair stack pile box bag can jar loaf basket
    bucket carton jug vase group herd flock""".split()
)
"""Nouns that may go on with "of": "cup of coffee"."""
NOUNS_IN_ING = frozenset(
    """building painting ring king wing string swing ceiling clothing earring spring pudding railing
    awning lightning sibling duckling dumpling sapling seedling gosling drawing carving crossing
    sling bling viking icing stocking topping filling evening morning herring starling sterling
    farthing bearing flooring frosting molding piping siding tubing wiring offspring bowstring
    keyring shoestring outbuilding engraving etching writing lettering skyling fledgling""".split()
)
COMPOUNDS_IN_ING = frozenset(
    """swimming washing parking mixing cutting sewing shopping vending dining frying fishing rolling
    sleeping wedding landing ironing boxing riding skating cooking baking watering walking knitting
    living dressing bowling hunting climbing running sailing racing training""".split()
)
"""May stand before a noun as part of its name: "indoor swimming pool"."""
NOUNS_IN_ED = frozenset(
    """bed shed seed sled weed reed moped bobsled flatbed sunbed seabed thoroughbred feed birdseed
    daybed bloodshed seaweed aniseed flowerbed breed steed creed watershed airbed hotbed
    red""".split()
)
NOUNS_IN_EST = frozenset(
    """nest chest forest vest guest harvest priest crest pest test contest request west rainforest
    conquest quest palimpsest bequest breast beast feast yeast toast""".split()
)
PLURALS_BEFORE_NOUNS = frozenset(
    """sports goods arms kids mens womens boys girls ladies sales savings games stairs women men
    children people""".split()
)
"""Plural nouns that may be part of a name: "sports car"."""
FOREIGN = frozenset(
    """der das den dem des ein eine einen einem einer und die mit auf unter im le la les un une et
    du el los las uno una y con il lo gli dei degli della di che het een op van en de o os um uma
    em na no da""".split()
)
"""Small words of other languages; a concept with one of them before its noun is not English."""
