"""Measures the gateway: against a running deployment (`load`) and side by side with its peers (`compare`)."""
