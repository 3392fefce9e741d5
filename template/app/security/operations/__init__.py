"""Start-up checks, health, migrations, `manage doctor` and what the commands share."""
