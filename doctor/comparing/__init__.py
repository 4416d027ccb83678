"""Ingresses side by side: the same call through each, in turn, and one table.

`entries` reads what is to be compared, `running` does it, a `passage` is what was seen of one of
them; `heads`, `cells`, `verdicts` and `table` make the table of it (pure), `rendering` prints it.
"""
