"""The methods that prune: scores of weights and of channels, and layer by layer."""
