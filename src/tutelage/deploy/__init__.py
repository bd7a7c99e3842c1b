"""Models at work: exported, verified, run by other runtimes, measured, shown on pictures."""
