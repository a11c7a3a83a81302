"""The characters a Vietnamese plate can carry, in the order the recogniser's classes have them."""

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZĐ"
"""Class i of the recogniser is ALPHABET[i]. The order is part of the shipped weights: append, never reorder."""

BLANK: Final = len(ALPHABET)
"""The class after the last character: this slot is empty."""

CLASSES: Final = BLANK + 1

SLOTS: Final = 10
"""Most characters a plate holds: an e-bike's `29MĐ112345`."""

INDEX: Final = {character: index for index, character in enumerate(ALPHABET)}

DIGITS: Final = "0123456789"
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZĐ"


def normalise(text: str) -> str:
    """Upper-case `text` and keep only what a plate carries: separators, blanks and unknown signs fall away."""
    return "".join(character for character in text.upper() if character in INDEX)
