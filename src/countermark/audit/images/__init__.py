"""Images: read, stored, searched, examined."""
