"""Podcasts made to be heard: the script, its voices, Opus in WebM, and the recordings that listeners follow."""
