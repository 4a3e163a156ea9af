"""Context graphs: pure values and the rules over them."""
