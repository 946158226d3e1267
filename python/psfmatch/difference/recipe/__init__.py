"""A subtraction to be made again: the kernel with all that was done about it."""
