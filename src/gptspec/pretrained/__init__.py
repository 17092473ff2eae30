"""Weights and vocabularies that others have trained."""
