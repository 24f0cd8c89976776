"""Answers to yes-or-no questions as text."""

from sam3_agent.model.offline.inflection import indefinite
from sam3_agent.model.offline.naming import Naming, are, listed
from sam3_agent.model.offline.query_tree import (
    AnyOf,
    Compare,
    Concept,
    Exists,
    Fits,
    Placed,
    Ranked,
    Related,
    heads,
)


class YesNoText(Naming):
    """Phrases answers that begin with yes or no."""

    def _existence(self, query: Exists) -> str:
        node = query.what
        parts = node.parts if isinstance(node, AnyOf) else (node,)
        found = [part for part in parts if self._executor.execute(part)]
        if query.every and found and len(found) < len(parts):
            absent = [self._name(part, several=False) for part in parts if part not in found]
            have = listed([self._amount(part) for part in found])
            first = len(self._executor.execute(found[0]))
            return f"No: there {are(first)} {have}, but no {' and no '.join(absent)}."
        if found and query.most is not None:
            number = len(self._executor.execute(node))
            yes = query.least <= number <= query.most
            return f"{'Yes' if yes else 'No'}, there {are(number)} {self._amount(node)}."
        if query.most is not None and query.least == 0:
            return f"Yes, there are no {self._name(node)}."
        if found:
            first = len(self._executor.execute(found[0]))
            if first < query.least:
                return f"No, there {are(first)} only {self._amount(node)}."
            return f"Yes, there {are(first)} {listed([self._amount(part) for part in found])}."
        if isinstance(node, Concept):
            return self._nothing(node)
        return " ".join(("No.", *(self._nothing(part) for part in parts)))

    def _fits(self, query: Fits) -> str:
        objects = self._executor.execute(query.what)
        if not objects:
            return self._nothing(query.what)
        total, fitting = len(objects), len(self._executor.fitting(objects, query.fitting))
        yes = {"all": fitting == total, "most": 2 * fitting > total, "none": not fitting}
        reply = "Yes" if yes[query.share] else "No"
        is_what = self._predicate(query, several=fitting > 1)
        if total == 1:
            one = self._marked(self._the(query.what), query.what)
            return f"{reply}, {one} is {'' if fitting else 'not '}{is_what}."
        some = self._marked(f"the {total} {self._name(query.what)}", query.what)
        if fitting == total:
            return f"{reply}, all of {some} are {is_what}."
        if not fitting:
            return f"{reply}, none of {some} is {is_what}."
        only = "only " if reply == "No" and query.share != "none" else ""
        return f"{reply}, {only}{fitting} of {some} {are(fitting)} {is_what}."

    def _predicate(self, query: Fits, *, several: bool) -> str:
        """The predicate of a check: "red", "on the left", "dogs"."""
        match query.fitting:
            case Placed() | Related() as node:
                return self._where(node)
            case Ranked() as node:
                return f"the {self._name(node, several=node.count > 1)}"
            case Concept(noun, attributes) if attributes and noun in {
                head.noun for head in heads(query.what)
            }:
                return " ".join(attributes)
            case node:
                name = self._name(node, several=several)
                return name if several else indefinite(name)

    def _comparison(self, query: Compare) -> str:
        one, other = (len(self._executor.execute(node)) for node in (query.what, query.other))
        have = f"{self._amount(query.what)} and {self._amount(query.other)}"
        if query.order == "which":
            if one == other:
                return f"There are as many of both: {have}."
            return (
                f"There are more {self._name(query.what if one > other else query.other)}: {have}."
            )
        yes = {"more": one > other, "fewer": one < other, "as many": one == other}[query.order]
        return f"{'Yes' if yes else 'No'}, there {are(one)} {have}."
