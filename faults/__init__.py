"""`ronghe faults`: loads a mesh, breaks it in every way it must survive, and lets an independent checker judge."""
