"""Monitors: each reads the events of a run and warns of faults that no check before it can find."""
