"""Rate limits per caller and per route, and where they are counted."""
