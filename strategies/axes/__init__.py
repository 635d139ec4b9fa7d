"""The axes of a method beside its score: how what is kept is divided, what goes together, when."""
