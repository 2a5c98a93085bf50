"""Measurements of Broadaxe: a cheap load generator and the table of figures (`make bench`)."""
