"""RESP and the cluster's answers as pure functions: no sockets."""
