"""What is made of finished runs, and measured beside them."""
