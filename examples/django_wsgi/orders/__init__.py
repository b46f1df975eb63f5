"""A project that takes orders."""
