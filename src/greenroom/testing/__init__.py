"""For tests of code that uses a room: fixtures, and a clock that is moved by hand. Needs pytest."""
