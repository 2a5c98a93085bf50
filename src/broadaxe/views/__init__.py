"""The read side: lists, timelines and details. Queries only."""
