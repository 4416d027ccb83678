"""The doctor's verbs of the command line: options in, what is printed and an exit code out.

    call       hopscope call                          doctor/caller
    diagnosis  hopscope doctor, lint, rules, explain  doctor/diagnosis, doctor/linting
    compare    hopscope compare                       doctor/comparing
    twilio     hopscope twilio                        doctor/incident
    replay     hopscope replay                        doctor/replaying
    lab        hopscope lab                           tests/ingress/faults

hopscope.py puts them together. Each imports what it needs when it is run, so that `--help` is fast.
"""
