"""The `ronghe` command: starts a mesh, acts for every party, and shows how cases and servers are doing."""
