"""What is shown of runs and results: a live bar, plain lines, JSON, tables."""
