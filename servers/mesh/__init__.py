"""One machine's mesh: Kafka as a child process, a local certificate authority, and the subsystems under a supervisor."""
