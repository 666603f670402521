"""The REST answers described as OpenAPI 3.1: types, sentences and routes as data, and a builder.

Not here: the answers themselves, how the description is served (`admin/reference.py`).
"""
