"""Meshes of other kinds than one process of each subsystem on SQLite."""
