"""Acts: feeds the engine, hands attempts to executors, commits, and tells callers how tasks ended (see `driver`)."""
