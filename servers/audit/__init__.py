"""Who read whose personal data: recorded beside the journal, shown to auditors."""
