"""The same commands over HTTP, and the record to read, for scripts, other systems and rehearsals."""
