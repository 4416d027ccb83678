"""Active diagnosis, and a caller that plays Twilio.

Words used throughout:

    caller      the simulated Twilio: it posts the webhook, obeys the TwiML, opens the stream
    leg         what one call heard or said: `caller` (sent by us) or `agent` (sent by the gateway)
    playout     Twilio's buffer of audio that the gateway sent and the caller has not heard yet

Of proxy and gateway only pure modules are imported here.
"""
