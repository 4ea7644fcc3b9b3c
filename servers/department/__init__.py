"""The department subsystem: lead organs accept and decide here."""
