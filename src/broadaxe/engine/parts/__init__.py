"""What an engine is made of, built from the ground up: each module connects one floor to those below it."""
