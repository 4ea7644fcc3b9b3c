"""The load: cases of every kind at a steady rate, by the public clients, every request and delivery written down."""
