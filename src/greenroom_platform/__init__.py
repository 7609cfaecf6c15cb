"""The platform: topics, snippets, podcasts and their listeners, on the library `greenroom`."""
