"""How a GPT learns."""
