"""What is run: experiments, the loop, training, sweeps, and the command line."""
