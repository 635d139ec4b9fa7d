"""Standard suites: versioned sets of tasks on which every method has the same chance."""
