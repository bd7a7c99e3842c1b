"""What watches a run while it goes on: generators around its events."""
