"""The words that the shipped tiny SAM 3 was trained on: nouns, colours, categories.

Used by the scene generator, the trainer, and the offline planner, which expands category words.
The real SAM 3 knows hundreds of thousands of concepts and needs none of this.
"""

COLORS = ("red", "orange", "yellow", "green", "blue", "purple")

COLORABLE = ("car", "bus", "book", "umbrella", "balloon", "shirt", "backpack", "heart")
"""Nouns that are drawn in each of COLORS; every other noun keeps the colours of its icon."""

CATEGORIES = {
    "animal": ("dog", "cat", "horse", "elephant", "fish", "duck", "butterfly"),
    "vehicle": ("car", "bus", "bicycle", "boat", "airplane"),
    "fruit": ("apple", "banana", "strawberry", "pineapple"),
}

NOUNS = (
    *CATEGORIES["animal"],
    *CATEGORIES["vehicle"],
    *CATEGORIES["fruit"],
    *("book", "umbrella", "balloon", "shirt", "backpack", "heart"),
    *("clock", "guitar", "tree", "house"),
)
