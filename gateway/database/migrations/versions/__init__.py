"""The steps: each makes of one form of the tables the next one."""
