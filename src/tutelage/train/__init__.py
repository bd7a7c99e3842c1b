"""Training: the task, the loop, the plan, and one run from settings to files."""
