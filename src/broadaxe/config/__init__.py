"""Settings: environment over YAML over defaults, validated with the name of the bad key."""
