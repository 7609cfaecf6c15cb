"""What ties a room to other packages, each module behind an extra of its name; `problems` needs none."""
