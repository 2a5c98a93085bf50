"""From what the read side answers to the wire's shapes."""
