"""Models of meaning: which texts are alike."""
