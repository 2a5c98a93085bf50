"""`broadaxe doctor`: looks at everything a server needs and says in plain words what it found."""
