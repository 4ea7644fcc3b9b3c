"""Plays terminals and organs against a mesh, a plan for each case, and compares the end with the plan."""
