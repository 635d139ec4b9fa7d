"""Trackers that people follow their runs with: each cell is told to them as a run."""
