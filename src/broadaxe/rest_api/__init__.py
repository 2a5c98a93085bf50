"""The HTTP API: thin handlers over typed models. Reads go through `views`, changes through `commands`."""
