"""The law's time: which days are working days, and when a limit ends. Pure."""
