"""After a call that failed at Twilio: what both sides tell of it, and whose error it was.

What `hopscope twilio CALL_SID` does. Read `investigation` first: it asks Twilio and the sidecar.

    incidents    what Twilio holds against the call: alerts, notifications, the debugger's webhook
    attribution  the hop that each of them is about, told from the answer that it got
    timeline     both sides in the order of time, and the verdict
    views        that for people, and for machines

Pure: incidents, attribution, timeline.
"""
