"""Saturated pixels: at which counts they begin, and the mask plane SAT set on them and about them."""
