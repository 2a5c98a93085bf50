"""Broadaxe: a durable task and workflow engine on PostgreSQL that can be watched from the inside."""
