"""What there is to choose from, in words: components, and the parameters of a network."""
