"""Greenroom: the hot-data tier of a podcast platform, in Valkey or Redis."""
