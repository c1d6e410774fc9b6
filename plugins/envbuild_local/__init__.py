"""The target ``local``: a process on this machine. `plugin` answers the hook, `process` does the work."""
