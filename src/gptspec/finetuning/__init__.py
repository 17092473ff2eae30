"""A trained model learns a task, or to talk."""
