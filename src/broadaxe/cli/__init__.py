"""The `broadaxe` command line."""
