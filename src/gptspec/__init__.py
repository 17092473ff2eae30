"""A GPT from scratch: one module per concept, each with a page and its laws."""
