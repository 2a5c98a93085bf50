"""Validation and planning of triggers and workflow registrations."""
