"""Measurements of a teacher, a student and a data set before training."""
