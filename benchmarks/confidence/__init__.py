"""What score and status are worth."""
