"""The JSON shapes of the API. Class names are the wire's, since the OpenAPI document carries them."""
