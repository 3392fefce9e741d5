"""What this project is called in its tokens and keys. It stays as it is when the project is renamed."""

SLUG = "{{= slug }}"
