"""The intake subsystem: applications are received here."""
