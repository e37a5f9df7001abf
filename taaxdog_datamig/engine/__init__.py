"""Plans, runs, proves and undoes migrations."""
