"""The fit to stars one by one: four visitors of the candidates (Alard & Lupton 1998; Alard 2000)."""
