"""Requests that no honest program would send, from the contract's own descriptors."""
