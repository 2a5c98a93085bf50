"""The sections of settings: one class each, one field a setting."""
