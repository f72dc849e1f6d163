"""The catalogue: the record of products, versions, manifests and API keys, which Redis serves.

The database has the record. What is in Redis can be made from it again at any time:

    rules.py       what a change makes of a product; pure
    records.py     the rows
    filling.py     writes to Redis what the database has; takes over what only Redis has
    catalogue.py   the changes: the database first, then Redis
    watching.py    the web process looks whether Redis has everything, and fills it again
"""
