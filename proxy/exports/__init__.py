"""What the sidecar saw, in the formats that other programs open: one format a module, all pure."""
