"""The database file: made, opened, moved, migrated, mended, kept private."""
