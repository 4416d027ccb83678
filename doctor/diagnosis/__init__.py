"""From what probing recorded to a verdict, and the verdict told (`hopscope doctor`).

Read `verdict` first: which hop, which phase, which rule, in one sentence. Beside it:

    input                      what the command is told, checked before anything is sent
    examination                the whole way: hops found, probed, their configurations read
    places                     what is said of each hop, before it is judged who broke it
    heads                      what a hop did to a request or an answer, line by line
    text, html, json, picture  a diagnosis for people, for a ticket, for machines
    pages                      the page of every rule, for `hopscope rules` and `explain`
    explanations, examiner     for the live page: what one record says, and the doctor's button

Pure: verdict, places, heads, picture, html, json, explanations. The evidence itself is
doctor/evidence.py: probes (doctor/probing) fill it, rules (doctor/rules) judge it.
"""
