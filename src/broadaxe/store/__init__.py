"""The only room that speaks SQL: statements, migrations, the group-commit writer, embedded PostgreSQL."""
