"""All SQL of the API, by what is asked about.

Keyset pagination only, no OFFSET. No SQL is put together from what a caller sent:
every optional filter is a parameter that may be NULL. ``api.reader`` runs it.
"""
