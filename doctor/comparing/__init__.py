"""Ingresses side by side: the same call through each, in turn, and one table.

`entries` reads what is to be compared, `running` does it, `heads`, `cells` and `table` make the
table of it (pure), `rendering` prints it.
"""
