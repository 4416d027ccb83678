"""Twilio's REST API, played on loopback: what a gateway that places calls talks to.

Read `server` first: it is api.twilio.com and monitor.twilio.com in one, and knows which resources
there are. Behind it:

    forms                   what may be asked of a call, and which code refuses the rest (pure)
    placed_call             the life of one call, from queued to its end
    answering               who answers it: a simulated caller (doctor/caller), a new one a call
    shapes, events, alerts  what is told of a call, of its requests, of what went wrong (pure)
    lists                   a page of those at a time (pure)
"""
