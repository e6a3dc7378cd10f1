"""Figures of a report, each rebuilt from the runs' result.json, npz and metrics.csv files alone."""
