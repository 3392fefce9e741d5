"""What protects this service. The modules are for your imports; the folders are internal."""
