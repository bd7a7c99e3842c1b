"""Checks before the first step of a distilled run."""
