"""Vietnamese plates: formats as data, parsing and display, and decoding of a recogniser's probabilities."""
