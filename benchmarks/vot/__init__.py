"""VOT: workspaces for the real vot-toolkit, which is GPL and only ever runs as a process of its own."""
