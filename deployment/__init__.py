"""What stands around Hopscope: configurations of ingresses, units, lists of hops, as text (pure).

Words used throughout:

    site        the values that every configuration is written from: public name, paths, addresses
    place       @word@ in a text, where a value of the site goes
    part        what a file is for: config, hops, readme, systemd, launchd

`site` checks every value against a list of allowed characters before any text sees it: a name or
path that could end a directive is refused, so no text needs to quote. One module an ingress has its
`Ingress`; `catalogue` lists them, `folder` writes them, `command` is the verb.

doctor/linting reads what is written here, and finds nothing: a test holds both to it.
"""
