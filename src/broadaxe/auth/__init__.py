"""Tenants, API tokens and the keys that sign them."""
