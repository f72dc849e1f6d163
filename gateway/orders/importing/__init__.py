"""Past customers from a file (CSV): read, checked as a whole, and written as orders."""
