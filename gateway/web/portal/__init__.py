"""The customer's pages, `/my`: what a customer has bought, for ever. They are public."""
