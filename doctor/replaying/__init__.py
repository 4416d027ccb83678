"""A captured stream played again (`hopscope replay`): its client's side, at its times.

    capture --> script (pure) --> playing --> differences (pure)

`script` is what to send and what was answered then, `playing` sends it and keeps what is answered
now, `differences` tells where the two part.
"""
