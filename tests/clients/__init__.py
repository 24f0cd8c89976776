"""Third-party clients, in environments of their own, against this checkout."""
