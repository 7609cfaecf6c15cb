"""Random histories: several processes read, write and invalidate while connections and servers fail, and a checker
judges what each has seen. `make torture` runs it long, `tests/e2e/test_torture.py` short.
"""
