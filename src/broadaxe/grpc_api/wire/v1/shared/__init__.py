"""Messages that several `v1` files share."""
