"""The paint that a wall needs."""

import math

COATS = 2
SQUARE_METRES = 8
"""Square metres that a litre covers, once."""


def run(arguments, _context):
    """Work out the litres for a wall. Return them, rounded up to half a litre."""
    litres = arguments["width"] * arguments["height"] * COATS / SQUARE_METRES
    return {"litres": math.ceil(litres * 2) / 2}
