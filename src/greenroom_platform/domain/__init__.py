"""The platform's own definitions: keyspaces, models, topics, snippets, and the protocol of its record."""
