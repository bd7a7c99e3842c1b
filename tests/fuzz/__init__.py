"""Hostile input of every kind; ``benchmarks/fuzz.py`` makes as much of it as you like."""
