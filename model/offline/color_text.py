"""Answers to questions about colours as text."""

from sam3_agent.model.offline.geometry import SceneObject
from sam3_agent.model.offline.naming import Naming, are, listed
from sam3_agent.model.offline.query_tree import Chosen, Node, SameColor


class ColorText(Naming):
    """Phrases answers about colours."""

    def _color_counts(self, node: Node) -> str:
        objects = self._executor.execute(node)
        if not objects:
            return self._nothing(node)
        groups: dict[str, list[int]] = {}
        for obj in sorted(objects, key=lambda obj: obj.box[0]):
            groups.setdefault(self._color(obj), []).append(obj.number)
        amounts = [
            f"[{len(numbers)} {color}]({', '.join(map(str, numbers))})"
            for color, numbers in groups.items()
        ]
        return f"There {are(len(objects))} {self._amount(node)}: {listed(amounts)}."

    def _same_color(self, query: SameColor) -> str:
        objects = self._executor.execute(query.what)
        colors = dict.fromkeys(self._color(obj) for obj in objects)
        if not objects:
            return self._nothing(query.what)
        yes = (len(colors) == 1) != query.different
        some = self._marked(f"the {len(objects)} {self._name(query.what)}", query.what)
        if len(objects) == 1:
            return f"There is only {self._amount(query.what)}; it is {listed(list(colors))}."
        return f"{'Yes' if yes else 'No'}, {some} are {listed(list(colors))}."

    def _color(self, obj: SceneObject) -> str:
        return self._colors.get(obj.number, "of no clear colour")

    def _coloring(self, node: Node) -> str:
        objects = self._executor.execute(node)
        if not objects:
            return self._nothing(node)
        from_left = sorted(objects, key=lambda obj: obj.box[0])
        colors = [self._color(obj) for obj in from_left]
        name = self._name(node, several=len(objects) > 1)
        if isinstance(node, Chosen) and len(objects) == 1:
            total = len(self._executor.candidates(node.of))
            if total > 1:
                one = self._marked("the clearest one", node)
                return f"There are {total} {self._name(node.of)}; {one} is {colors[0]}."
        if len(set(colors)) == 1:
            number = f"{len(objects)} " if len(objects) > 1 else ""
            some = self._marked(f"The {number}{name}", node)
            return f"{some} {are(len(objects))} {colors[0]}."
        return f"From left to right, {self._marked(f'the {name}', node)} are {listed(colors)}."
