"""Answers to questions about colours, in words."""

from sam3_agent.model.offline.geometry import Thing
from sam3_agent.model.offline.naming import Naming, are, listed
from sam3_agent.model.offline.query_tree import (
    Chosen,
    Node,
    SameColor,
)


class ColorWording(Naming):
    """Says what colours things have."""

    def _color_counts(self, node: Node) -> str:
        things = self._findings.things(node)
        if not things:
            return self._nothing(node)
        groups: dict[str, list[int]] = {}
        for thing in sorted(things, key=lambda thing: thing.box[0]):
            groups.setdefault(self._color(thing), []).append(thing.number)
        amounts = [
            f"[{len(numbers)} {color}]({', '.join(map(str, numbers))})"
            for color, numbers in groups.items()
        ]
        return f"There {are(len(things))} {self._amount(node)}: {listed(amounts)}."

    def _same_color(self, query: SameColor) -> str:
        things = self._findings.things(query.what)
        colors = dict.fromkeys(self._color(thing) for thing in things)
        if not things:
            return self._nothing(query.what)
        yes = (len(colors) == 1) != query.different
        some = self._marked(f"the {len(things)} {self._name(query.what)}", query.what)
        if len(things) == 1:
            return f"There is only {self._amount(query.what)}; it is {listed(list(colors))}."
        return f"{'Yes' if yes else 'No'}, {some} are {listed(list(colors))}."

    def _color(self, thing: Thing) -> str:
        return self._colors.get(thing.number, "of no clear colour")

    def _coloring(self, node: Node) -> str:
        things = self._findings.things(node)
        if not things:
            return self._nothing(node)
        from_left = sorted(things, key=lambda thing: thing.box[0])
        colors = [self._color(thing) for thing in from_left]
        name = self._name(node, several=len(things) > 1)
        if isinstance(node, Chosen) and len(things) == 1:
            total = len(self._findings.candidates(node.of))
            if total > 1:
                one = self._marked("the clearest one", node)
                return f"There are {total} {self._name(node.of)}; {one} is {colors[0]}."
        if len(set(colors)) == 1:
            number = f"{len(things)} " if len(things) > 1 else ""
            some = self._marked(f"The {number}{name}", node)
            return f"{some} {are(len(things))} {colors[0]}."
        return f"From left to right, {self._marked(f'the {name}', node)} are {listed(colors)}."
