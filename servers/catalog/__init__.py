"""Service items, organs and divisions: what can be applied for, where, and who is responsible. Pure."""
