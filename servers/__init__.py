"""The subsystems of ronghe and the machine they are all instances of."""
