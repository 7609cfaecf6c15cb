"""What operators see of a program's servers: whether all is as declared, what is stale, how large it is, whose keys.

Everything is derived from the declarations. Servers are asked over connections of the operator's own, at a bounded
pace, at a replica where there is one: nothing here is used by a program while it serves.
"""
