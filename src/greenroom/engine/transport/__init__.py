"""One connection: its handshake, its security, and what keeps it up."""
