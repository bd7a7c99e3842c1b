"""Stored teaching: what teachers said about the views of a data set, on disk."""
