"""One cell: the loop of training, pruning and measuring, and what it stands on."""
