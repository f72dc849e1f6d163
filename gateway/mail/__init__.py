"""Mails: an outbox in the database, what mails say, and how they leave."""
