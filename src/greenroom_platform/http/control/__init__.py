"""The control room: what operators see of a service, and what they do to it. The calls are in `routes.control`."""
