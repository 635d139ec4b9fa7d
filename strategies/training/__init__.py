"""How pruned networks train: masks that are kept up, tightened, redrawn or learned, and gates."""
