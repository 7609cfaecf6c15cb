"""What `make dist` and `make release` run: the two files of a distribution, and all that is checked of them."""
