"""The binding of pages, modules and laws."""
