"""Active diagnosis, and a caller that plays Twilio.

From the command line inwards:

    commands    the verbs of the command line
    comparing   ingresses side by side              `hopscope compare`
    incident    a call that failed at Twilio        `hopscope twilio`
    diagnosis   from evidence to a verdict, told    `hopscope doctor`
    linting     configurations of ingresses         `hopscope lint`
    rules       one function each, from evidence to one observed fact
    probing     what is sent to each hop, and what is recorded of it
    rest_api    Twilio's REST API, played; its calls are made by
    caller      the simulated Twilio                `hopscope call`
    replaying   a captured stream played again      `hopscope replay`

The modules beside them are what those share: `evidence` is the language of probes, rules and
reports; `errors` and `meanings` are Twilio's codes; `addresses`, `dial`, `exchange`, `websocket`
and `signing` reach a server as Twilio does.

Words used throughout:

    caller      the simulated Twilio: it posts the webhook, obeys the TwiML, opens the stream
    leg         what one call heard or said: `caller` (sent by us) or `agent` (sent by the gateway)
    playout     Twilio's buffer of audio that the gateway sent and the caller has not heard yet

Of proxy and gateway only pure modules are imported here, and no package imports one that stands
above it: a test holds both.
"""
