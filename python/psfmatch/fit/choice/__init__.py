"""Choice of the kernel model by what it leaves of pixels that it has not seen."""
