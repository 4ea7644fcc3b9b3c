"""The faults themselves: each breaks one thing, and returns when it is whole again or will be by itself."""
