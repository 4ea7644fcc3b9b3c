"""One machine's mesh: Kafka as a child process, a local certificate authority, and a supervisor of all processes."""
