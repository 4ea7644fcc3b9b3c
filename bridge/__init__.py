"""Carries what happens from one subsystem to another: a source, a sink and an acknowledgement, each time."""
