"""The benchmark: what Hopscope costs for every frame it relays, beside relays that look at none."""
