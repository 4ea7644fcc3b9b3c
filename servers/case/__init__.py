"""What every subsystem shows of a case: the case itself, its timeline, where it is, its documents."""
