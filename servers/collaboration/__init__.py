"""Collaborations, as the center routes them and as the lead that asked sees them: one fold, one view, one service."""
