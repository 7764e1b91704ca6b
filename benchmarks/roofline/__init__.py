"""What a frame costs, what this machine could do, what share of it is reached, and what others would do."""
