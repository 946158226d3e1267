"""The fit to all pixels of regions of the images, each with a weight of its own."""
