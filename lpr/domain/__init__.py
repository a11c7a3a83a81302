"""The vocabulary that every other part speaks: frozen, pure, no input or output.

This package imports nothing of `lpr` but itself; see the modules for the words.
"""
