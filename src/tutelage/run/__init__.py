"""One training run: its events, its folder, its checkpoints, what it is watched for."""
