"""The governance subsystem: the center sees every case."""
