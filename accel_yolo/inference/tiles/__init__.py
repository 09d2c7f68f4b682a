"""Large images, looked at in tiles."""
