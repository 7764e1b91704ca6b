"""The console: a page and a WebSocket that show a tracker at work and let its targets be chosen."""
