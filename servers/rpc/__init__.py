"""How a subsystem is served: one call wrapper around plain servicers."""
