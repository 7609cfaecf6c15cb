"""`make bench`: ratios against peers, measured in one run on one machine. Not tests: nothing here passes or fails."""
