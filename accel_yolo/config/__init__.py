"""Settings, flags and YAML: stdlib and PyYAML only, so that `--help` answers at once."""
