"""Sound: samples, their formats, and the way from one to the other."""
