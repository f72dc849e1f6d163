"""The address of platforms' webhooks: /hooks/CONNECTION."""
