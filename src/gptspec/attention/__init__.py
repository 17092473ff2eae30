"""How tokens read one another."""
