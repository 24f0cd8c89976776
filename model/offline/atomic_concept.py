"""Questions that are themselves one concept: "red cars", "the lion mane"."""

from sam3_agent.model.offline.parser import parse
from sam3_agent.model.offline.query_tree import THING, Chosen, Concept, Refer

MAX_WORDS = 4


def atomic_concept(text: str) -> tuple[str, bool] | None:
    """The concept phrase of a question that consists of it, and whether it asks for one object.

    None for relations, places, ranks, counts, exceptions, several concepts, superlatives, and for
    questions that cannot be parsed.
    """
    query = parse(text)
    if not isinstance(query, Refer):
        return None
    what, single = query.what, False
    if isinstance(what, Chosen) and what.count == 1:
        what, single = what.of, True
    if not isinstance(what, Concept) or what.noun == THING:
        return None
    words = what.phrase.split()
    if len(words) > MAX_WORDS or any(word.endswith("est") for word in what.attributes):
        return None
    return what.phrase, single
