"""The REST surface: thin handlers over typed models."""
