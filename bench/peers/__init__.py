"""The relays that people usually write, to be measured beside ours."""
