"""What an engine does for tenants that another engine schedules, and what it does for such engines."""
