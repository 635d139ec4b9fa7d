"""Many cells: which are to be run, where, and what is left of those that die."""
