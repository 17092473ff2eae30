"""How a GPT talks."""
