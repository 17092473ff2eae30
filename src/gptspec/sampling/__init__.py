"""Numbers become examples."""
