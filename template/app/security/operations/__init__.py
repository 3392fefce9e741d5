"""Start-up checks, health, migrations and the command line."""
