"""One server, as a node of a cluster or by itself."""
