"""Kernel candidates: from a catalogue, from detected stars, or from bright pixels; in cells over the image."""
