"""Who may sign in to the dashboard: users, their passwords and passkeys, and the links that make users."""
