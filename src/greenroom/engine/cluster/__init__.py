"""Many nodes behind one interface: discovery, the slot map, replicas."""
