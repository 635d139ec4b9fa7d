"""What a method may look at: the network, its prunable weights, derivatives, activations."""
