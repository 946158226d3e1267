"""The noise of a difference made white (Reiss & Lupton 2016, DMTN-021)."""
