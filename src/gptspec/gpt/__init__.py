"""The parts of a GPT, and the whole."""
